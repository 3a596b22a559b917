"""How fast does `bertjax serve` answer, beside other servers?

    python -m benchmarks.serving [--data projects.csv] [--infinity ENV/bin/infinity_emb] [--quick]

Client and servers share this machine's cores. One text at a time: its latency, beside the bare
jitted forward pass of the same texts. Many connections, one text a request: requests a second,
beside a FastAPI application around transformers in torch that computes each request alone, and
beside infinity-emb, which batches, with torch and with ONNX Runtime (in an environment of its own:
`--infinity` names its command). Then the time from the shell to ready, with nothing compiled and
again. `benchmarks.soak` asks for long.
"""

import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.command import check_counts, run_command
from benchmarks.machine import cpu_model, describe_machine, usable_cores, use_cores
from benchmarks.mixed_texts import mixed_texts
from benchmarks.processes import PROCESSOR, require, run_child
from benchmarks.records import append_record, print_table, ratio
from benchmarks.servers import (
    AskConfig,
    Program,
    Server,
    bertjax_server,
    infinity_server,
    started,
    transformers_server,
)
from bertjax.errors import UserError
from bertjax.models.configs import Precision

BARE = "bare forward"

Record = dict[str, Any]


@dataclass(frozen=True)
class ServingConfig(AskConfig):
    """Latency and throughput over HTTP, beside other servers."""

    requests: int = 1000
    """Of each run with many connections, after as many as there are texts."""
    rounds: int = 3
    """Runs a server, which take turns; medians count."""
    precision: Precision = "float32"
    """Of ours. The peers compute in float32."""
    infinity: Path | None = None
    """The command of infinity-emb, if it is to take part."""
    threads: int = 2
    """Cores that client and servers share."""
    quick: bool = False
    """Few texts and requests, without peers: shows that it runs, and nothing else."""


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command("serving", ServingConfig, run, arguments)


def run(config: ServingConfig) -> None:
    check_counts(config, "texts", "requests", "connections", "rounds", "threads")
    require("fastapi", "aiohttp")
    config = replace(config, infinity=_program(config.infinity))
    use_cores(config.threads)
    if config.precision == "auto":
        config = replace(config, **run_child("auto_precision", {}, PROCESSOR).result)
    if config.quick:
        config = replace(config, texts=8, requests=16, connections=4, rounds=1)
    else:
        require("torch")
    texts = mixed_texts(config.data, config.text, config.texts, seed=0)
    with tempfile.TemporaryDirectory(prefix="bertjax-serving-") as name:
        folder = str(Path(name, "model"))
        run_child("make_head", {"checkpoint": config.checkpoint, "folder": folder}, PROCESSOR)
        bench = _Bench(config, folder, texts)
        bench.show_starts(Path(name, "compiled"))
        with ExitStack() as stack:
            servers = [
                stack.enter_context(started(program, config.threads))
                for program in bench.programs()
            ]
            bench.show_latency(servers[0])
            bench.show_throughput(servers)
    print(f"{cpu_model()}, {usable_cores()} cores, which client and servers share")


def _program(path: Path | None) -> Path | None:
    """Where it is, from any folder. UserError: it is not there, or cannot be run."""
    if path is None:
        return None
    if found := shutil.which(path):
        return Path(found).absolute()
    raise UserError(f"--infinity {path} is no program: name infinity_emb in the bin of its venv")


class _Bench:
    def __init__(self, config: ServingConfig, folder: str, texts: list[str]):
        self.config = config
        self.folder = folder
        self.texts = texts
        self.name = "serving-quick" if config.quick else "serving"

    def ours(self) -> Program:
        return bertjax_server(self.folder, self.config.precision)

    def programs(self) -> list[Program]:
        """Of the servers that take turns, ours first."""
        config = self.config
        found = [self.ours()]
        if not config.quick:
            found.append(transformers_server(self.folder, config.threads))
            if config.infinity:
                run_child(
                    "export_peers", {"folder": self.folder, "engines": ["ONNX Runtime"]}, PROCESSOR
                )
                Path(self.folder, "int8.onnx").unlink()  # it would take either
                found += [
                    infinity_server(config.infinity, self.folder, engine)
                    for engine in ("torch", "optimum")
                ]
        return found

    def show_starts(self, cache: Path) -> None:
        """From the program's start to ready, without anything compiled, and again."""
        records = []
        compiled = {"JAX_COMPILATION_CACHE_DIR": str(cache)}
        for number in range(1 + self.config.rounds):
            with started(self.ours(), self.config.threads, compiled) as server:
                # The first one also compiles what later starts take from the cache.
                self._load(server, 1, len(self.texts))
            records.append(self._record("start", server, number=number, ready_s=server.ready_s))
        again = statistics.median(r["ready_s"] for r in records[1:])
        print(f"ready after {records[0]['ready_s']:.1f} s, started again after {again:.1f} s")

    def show_latency(self, server: Server) -> None:
        records = []
        for _ in range(self.config.rounds):
            settings = {"texts": self.texts, "folder": self.folder, "precision": server.precision}
            bare = run_child("bare_forward", settings, PROCESSOR).result
            records.append(self._record("one text", server, **{**bare, "side": BARE}))
            found = self._load(server, 1, len(self.texts))
            records.append(self._record("one text", server, **found))
        print_table("One text at a time", ("", "p50", "p99", "p50 / bare"), latency_rows(records))

    def show_throughput(self, servers: list[Server]) -> None:
        records = []
        for turn in range(self.config.rounds):
            for server in servers if turn % 2 == 0 else servers[::-1]:
                found = self._load(server, self.config.connections, self.config.requests)
                records.append(self._record("many", server, **found))
        print_table(
            f"{self.config.connections} connections, a text a request",
            ("", "requests/s", "ours / theirs", "p50", "p99", "failed", "same labels"),
            throughput_rows(records),
        )

    def _load(self, server: Server, connections: int, requests: int) -> Record:
        settings = {
            "url": server.url,
            "form": server.form,
            "texts": self.texts,
            "connections": connections,
            "requests": requests,
            "warm_up": len(self.texts),
        }
        return run_child("http_load", settings).result

    def _record(self, part: str, server: Server, **facts: Any) -> Record:
        labels = facts.pop("labels", None)
        record = {
            "benchmark": "serving",
            "part": part,
            "side": server.side,
            "precision": server.precision,
            "texts": len(self.texts),
            "columns": self.config.text,
            "data": [Path(name).name for name in self.config.data],
            "checkpoint": Path(self.config.checkpoint).name,
            "connections": self.config.connections,
            "threads": self.config.threads,
            "device": "cpu",
            **facts,
        }
        append_record(self.name, {**record, "machine": describe_machine()})
        return {**record, "labels": labels}


def latency_rows(records: Sequence[Record]) -> list[list[str]]:
    """A row a side, of medians over the rounds."""
    bare = _median(records, BARE, "p50_s")
    rows = []
    for side in dict.fromkeys(r["side"] for r in records):
        p50, p99 = _median(records, side, "p50_s"), _median(records, side, "p99_s")
        rows.append([side, f"{p50 * 1e3:.2f} ms", f"{p99 * 1e3:.2f} ms", ratio(p50, bare)])
    return rows


def throughput_rows(records: Sequence[Record]) -> list[list[str]]:
    """A row a server, of medians over the rounds; failed requests of all."""
    ours = next(r for r in records if r["side"] == "bertjax")
    rate = _median(records, "bertjax", "requests_s")
    rows = []
    for side in dict.fromkeys(r["side"] for r in records):
        of_side = [r for r in records if r["side"] == side]
        theirs = _median(records, side, "requests_s")
        same = sum(a == b for a, b in zip(ours["labels"], of_side[0]["labels"], strict=True))
        rows.append(
            [
                side,
                f"{theirs:.0f}",
                ratio(rate, theirs),
                f"{_median(records, side, 'p50_s') * 1e3:.0f} ms",
                f"{_median(records, side, 'p99_s') * 1e3:.0f} ms",
                str(sum(r["failed"] for r in of_side)),
                f"{same / len(ours['labels']):.1%}",
            ]
        )
    return rows


def _median(records: Sequence[Record], side: str, figure: str) -> float:
    return statistics.median(r[figure] for r in records if r["side"] == side)


if __name__ == "__main__":
    sys.exit(main())
