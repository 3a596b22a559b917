"""How fast is a training step, beside transformers with torch?

    python -m benchmarks.training [--shapes base-8x128 minilm-32x64] [--memory kept] [--quick]

A BERT text classifier with random weights, on texts that are all as long as a row, so that nothing
but the step is compared: forward and backward with dropout 0.1, clipping, AdamW. With `--lengths
half` texts have any length, half a row on average: bertjax packs them into half as many rows, and
is also measured with a text a row, as torch is. Each side is a process of its own, and the sides
take turns.

On a GPU: --shapes base-64x512 --precisions bfloat16 --together 8 --peers torch.compile
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from benchmarks.charts import draw, panel
from benchmarks.children.step_texts import make_texts
from benchmarks.command import check_counts, run_command
from benchmarks.machine import cpu_model, use_cores
from benchmarks.processes import require, run_child
from benchmarks.shapes import SIZES, Shape
from benchmarks.speed import OURS, Record, Side, by_side, measure, median_of, print_speeds
from bertjax.errors import UserError

PLAIN = {"accumulation": 1, "remat": False}
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


@dataclass(frozen=True)
class TrainingConfig:
    """Time of a training step, beside transformers with torch."""

    shapes: tuple[str, ...] = ("base-8x128", "minilm-32x64")
    """MODEL-TEXTSxTOKENS; a model of tiny, minilm, base, large."""
    precisions: tuple[Literal["bfloat16", "float32"], ...] = ()
    """Of products. None: float32, and bfloat16 (torch: autocast) where the hardware has it."""
    lengths: Literal["full", "half"] = "full"
    """Of texts: as long as a row; or of any length, half a row on average, packed and padded."""
    rounds: int = 3
    """Processes a side; the median counts."""
    padded: bool = True
    """With `--lengths half`: measure bertjax with a text a row, too."""
    repeats: int = 5
    """Steps a process, after the first three; the median counts."""
    together: int = 1
    """Steps from one wait for the device to the next: one by one a GPU would stand idle between."""
    threads: int = 2
    """Cores that each side may use."""
    peers: tuple[Literal["torch", "torch.compile"], ...] = ("torch",)
    """transformers with torch, as it is or compiled."""
    at_once: int = 1
    """Processes that compile at the same time, each with a share of the device's memory; they are
    timed one at a time."""
    memory: Literal["default", "kept", "huge-pages"] = "default"
    """What glibc does on all sides: as it does; keep what is freed, as `bertjax.keep_memory()` asks
    for; or ask for huge pages."""
    quick: bool = False
    """A tiny model and one process a side: shows that the benchmark runs, and nothing else."""


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command("training", TrainingConfig, run, arguments)


def run(config: TrainingConfig) -> None:
    check_counts(config, "rounds", "repeats", "together", "threads", "at_once")
    if config.quick:
        config = replace(config, shapes=("tiny-2x8",), rounds=1, repeats=2)
    shapes = _shapes(config)
    require("torch")
    use_cores(config.threads)
    precisions = config.precisions or _precisions()
    panels = []
    for shape in shapes:
        records = []
        for precision in precisions:
            records += _measure(shape, precision, config)
        panels.append(panel(str(shape), records))
    device = records[0]["device"]
    machine = f"{cpu_model()}, {config.threads} cores" if device == "cpu" else device
    note = f"{machine}; medians of {config.rounds} processes each"
    if config.memory != "default":
        note += f"; memory: {config.memory}"
    name = chart_name(config, on_processor=device == "cpu")
    if path := draw(name, "A training step: shorter is faster", panels, note):
        print(f"chart: {path}")


def chart_name(config: TrainingConfig, on_processor: bool) -> str:
    """Another one for each memory, length and device: a run replaces no chart of others."""
    parts = [config.memory, *(["half"] if config.lengths == "half" else [])]
    parts += [*([] if on_processor else ["gpu"]), *(["quick"] if config.quick else [])]
    return "-".join(["training", *parts])


def _shapes(config: TrainingConfig) -> list[Shape]:
    """Those that are named. UserError: there is none, or one that cannot be measured."""
    shapes = [Shape.parse(name) for name in config.shapes]
    if not shapes:
        raise UserError("there is nothing to measure: name shapes after --shapes")
    if config.lengths == "half" and any(shape.length < 2 for shape in shapes):
        raise UserError("--lengths half needs rows of 2 tokens or more")
    return shapes


def _precisions() -> tuple[str, ...]:
    """Those that the hardware multiplies: without it torch's bfloat16 reaches 1 GFLOP/s."""
    fastest = run_child("auto_precision", {}).result["precision"]
    return tuple(dict.fromkeys((fastest, "float32")))


def _measure(shape: Shape, precision: str, config: TrainingConfig) -> list[Record]:
    """The records of one shape and precision, after a table of them."""
    sides = sides_of(precision, config)
    facts = {
        "shape": str(shape),
        "lengths": config.lengths,
        "repeats": config.repeats,
        "together": config.together,
        "threads": config.threads,
        "memory": config.memory,
    }
    environment = HUGE_PAGES if config.memory == "huge-pages" else {}
    settings = {**shape.settings(), **facts, "keep": True}
    records = measure(
        "training",
        sides,
        facts,
        settings,
        config.rounds,
        environment,
        config.quick,
        at_once=config.at_once,
    )
    lengths = [len(text) for text in make_texts(settings)]
    tokens = f", {sum(lengths):,} tokens" if config.lengths == "half" else ""

    def flops(who: str) -> float:
        return 3 * SIZES[shape.model].forward_flops(lengths, first_only=who.startswith(OURS))

    print_speeds(f"A training step, {shape}{tokens}", records, flops)
    print(first_call(records), end="\n\n")
    return records


def sides_of(precision: str, config: TrainingConfig) -> list[Side]:
    """Those that are compared, ours first."""
    peers = [
        Side(name, precision, "train_torch", {"compile": name == "torch.compile"})
        for name in config.peers
    ]
    if config.lengths == "full":
        ours = [Side(OURS, precision, "train_bertjax", PLAIN)]
    else:
        ours = [Side(OURS, precision, "train_bertjax", {**PLAIN, "packed": True})]
        if config.padded:
            padded = {**PLAIN, "packed": False}
            ours.append(Side(f"{OURS}, padded", precision, "train_bertjax", padded))
    return [*ours, *peers]


def first_call(records: Sequence[Record]) -> str:
    """What bertjax's first call is made of."""
    ours = by_side(records)[OURS, records[0]["precision"]]
    trace_s, compile_s = median_of(ours, "trace_s"), median_of(ours, "compile_s")
    return f"the first call of {OURS}: tracing {trace_s:.1f} s, compiling {compile_s:.1f} s"


if __name__ == "__main__":
    sys.exit(main())
