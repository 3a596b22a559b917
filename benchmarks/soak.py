"""Does `bertjax serve --ray` answer rightly, and in the same memory, for long?

    python -m benchmarks.soak [--data projects.csv] [--requests 100000] [--quick]

Many connections ask replicas on Ray, a text a request, and hold each answer against that of
`Predictor`. In the middle of it a replica is killed, which Ray is to replace: what it had in hand
may be lost, but each loss must be told by a status. Client and servers share this machine's cores.
The exit status is 1 if an answer was wrong or lost, or a process of bertjax grew by over 5 %.
"""

import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from benchmarks.children.result import NO_ANSWER
from benchmarks.command import check_counts, run_command
from benchmarks.machine import cpu_model, describe_machine, usable_cores
from benchmarks.mixed_texts import mixed_texts
from benchmarks.processes import PROCESSOR, require, run_child
from benchmarks.records import append_record, megabytes, print_table
from benchmarks.servers import AskConfig, bertjax_server, started

# The packing of a batch changes the order of sums, and in bfloat16 what is rounded.
_TOLERANCE = {"float32": 1e-5, "bfloat16": 0.03}

_OURS = ("bertjax", "ray::ServeReplica:bertjax")
_GROWTH = 1.05  # from the second part of its life to the last

_PARTS = 10  # of a process's time: the first warms it up, the second and the last are compared

Sample = tuple[int, dict[str, int]]
"""(requests that were answered, bytes of each process)."""


@dataclass(frozen=True)
class SoakConfig(AskConfig):
    """Many requests to replicas on Ray, of which one is killed."""

    requests: int = 100_000
    """In all."""
    replicas: int = 2
    """Each on a core of its own."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of matrix products."""
    quick: bool = False
    """Few texts and requests: shows that it runs, and nothing else."""


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command("soak", SoakConfig, run, arguments)


def run(config: SoakConfig) -> int:
    check_counts(config, "texts", "requests", "connections", "replicas")
    require("ray", "aiohttp", "psutil")
    if config.quick:
        config = replace(config, texts=8, requests=400, connections=8)
    texts = mixed_texts(config.data, config.text, config.texts, seed=0)
    with tempfile.TemporaryDirectory(prefix="bertjax-soak-") as name:
        folder = str(Path(name, "model"))
        run_child("make_head", {"checkpoint": config.checkpoint, "folder": folder}, PROCESSOR)
        model = {"folder": folder, "texts": texts, "precision": config.precision}
        expected = run_child("predict_texts", model, PROCESSOR).result["probabilities"]
        replicas = ("--ray", "--replicas", str(config.replicas))
        program = bertjax_server(folder, config.precision, *replicas)
        with started(program, usable_cores()) as server:
            settings = {
                "url": server.url,
                "pid": server.pid,
                "texts": texts,
                "expected": expected,
                "tolerance": _TOLERANCE[config.precision],
                "requests": config.requests,
                "connections": config.connections,
            }
            found = run_child("http_soak", settings).result
    memory = memory_by_part(found.pop("samples"), config.requests)
    record = {
        "benchmark": "soak",
        "precision": config.precision,
        "requests": config.requests,
        "connections": config.connections,
        "replicas": config.replicas,
        "device": "cpu",
        **found,
        "memory": memory,
    }
    name = "soak-quick" if config.quick else "soak"
    append_record(name, {**record, "machine": describe_machine()})
    print_table(f"{config.requests:,} requests", ("", ""), answer_rows(record))
    print_table(
        "Memory of a process, its own", ("", "warm", "in the end", "growth"), memory_rows(memory)
    )
    print(f"{cpu_model()}, {usable_cores()} cores, which client and servers share")
    found = failures(record, {} if config.quick else memory)  # so short a life says nothing
    for line in found:
        print(f"failed: {line}", file=sys.stderr)
    return int(bool(found))


def failures(record: dict[str, Any], memory: dict[str, list[float]]) -> list[str]:
    """What must not be, a line each: a wrong answer, one that was lost, growth of our processes.

    Those of Ray itself are not ours. What a killed replica had in hand, no more than the
    connections, is told by a status.
    """
    outcomes = record["outcomes"]
    lost = outcomes.get(NO_ANSWER, 0)
    refused = sum(count for name, count in outcomes.items() if name not in ("200", NO_ANSWER))
    found = []
    if record["wrong"]:
        found.append(f"{record['wrong']:,} wrong answers")
    if lost:
        found.append(f"{lost:,} requests without an answer")
    if refused > record["connections"]:
        found.append(f"{refused:,} errors, more than the killed replica had in hand")
    for name, parts in memory.items():
        if name.startswith(_OURS) and len(parts) > 1 and parts[-1] > _GROWTH * parts[1]:
            found.append(f"{name} grew by {parts[-1] / parts[1] - 1:.1%}")
    return found


def memory_by_part(samples: Sequence[Sample], requests: int) -> dict[str, list[float]]:
    """For each process that lived for a third of the requests, its bytes in each tenth of its life.

    A tenth is the median of its samples; time is counted in requests.
    """
    found = {}
    for name in dict.fromkeys(name for _, own in samples for name in own):
        life = [(count, own[name]) for count, own in samples if name in own]
        first, last = life[0][0], life[-1][0]
        if last - first < requests / 3:
            continue
        parts: list[list[int]] = [[] for _ in range(_PARTS)]
        for count, size in life:
            parts[min(_PARTS - 1, _PARTS * (count - first) // (last - first))].append(size)
        found[name] = [statistics.median(part) for part in parts if part]
    return found


def answer_rows(record: dict[str, Any]) -> list[list[str]]:
    outcomes = record["outcomes"]
    replaced = record["replaced_s"]
    return [
        *([f"answered by {status}", f"{outcomes[status]:,}"] for status in sorted(outcomes)),
        ["wrong", f"{record['wrong']:,}"],
        ["largest difference from Predictor", f"{record['largest_difference']:.1e}"],
        ["requests/s", f"{record['requests_s']:.0f}"],
        ["the killed replica's successor", f"after {replaced:.1f} s" if replaced else "none"],
    ]


def memory_rows(memory: dict[str, list[float]]) -> list[list[str]]:
    """A row a process: the second part of its life, the last one, and the growth between them."""
    return [
        [name, megabytes(parts[1]), megabytes(parts[-1]), f"{parts[-1] / parts[1] - 1:+.1%}"]
        for name, parts in memory.items()
        if len(parts) > 1
    ]


if __name__ == "__main__":
    sys.exit(main())
