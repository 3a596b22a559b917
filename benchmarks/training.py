"""How fast is a training step, beside transformers with torch?

    python -m benchmarks.training [--shapes base-8x128 minilm-32x64] [--memory kept] [--quick]

A BERT text classifier with random weights, on texts that are all of one length, so that nothing but
the step is compared: forward and backward with dropout 0.1, clipping, AdamW. Each side is a process
of its own, and the sides take turns.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from benchmarks.charts import draw, panel
from benchmarks.command import check_counts, run_command
from benchmarks.machine import cpu_model, use_cores
from benchmarks.processes import require, run_child
from benchmarks.shapes import Shape
from benchmarks.speed import OURS, Record, Side, by_side, measure, median_of, print_speeds

PLAIN = {"accumulation": 1, "remat": False}
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


@dataclass(frozen=True)
class TrainingConfig:
    """Time of a training step, beside transformers with torch."""

    shapes: tuple[str, ...] = ("base-8x128", "minilm-32x64")
    """MODEL-TEXTSxTOKENS; a model of tiny, minilm, base, large."""
    precisions: tuple[str, ...] = ()
    """Of products. None: float32, and bfloat16 (torch: autocast) where the hardware has it."""
    rounds: int = 3
    """Processes a side; the median counts."""
    repeats: int = 5
    """Steps a process, after the first three; the median counts."""
    threads: int = 2
    """Cores that each side may use."""
    compiled: bool = False
    """Measure `torch.compile` too."""
    memory: Literal["default", "kept", "huge-pages"] = "default"
    """What glibc does on all sides: as it does; keep what is freed, as `bertjax.keep_memory()` asks
    for; or ask for huge pages."""
    quick: bool = False
    """A tiny model and one process a side: shows that the benchmark runs, and nothing else."""


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command("training", TrainingConfig, run, arguments)


def run(config: TrainingConfig) -> None:
    check_counts(config, "rounds", "repeats", "threads")
    if config.quick:
        config = replace(config, shapes=("tiny-2x8",), rounds=1, repeats=2)
    shapes = [Shape.parse(name) for name in config.shapes]
    require("torch")
    use_cores(config.threads)
    precisions = config.precisions or _precisions()
    panels = []
    for shape in shapes:
        records = []
        for precision in precisions:
            records += _measure(shape, precision, config)
        panels.append(panel(str(shape), records))
    note = f"{cpu_model()}, {config.threads} cores; medians of {config.rounds} processes each"
    if config.memory != "default":
        note += f"; memory: {config.memory}"
    draw(
        "training-quick" if config.quick else "training",
        "A training step: shorter is faster",
        panels,
        note,
    )


def _precisions() -> tuple[str, ...]:
    """Those that the hardware multiplies: without it torch's bfloat16 reaches 1 GFLOP/s."""
    fastest = run_child("auto_precision", {}).result["precision"]
    return tuple(dict.fromkeys((fastest, "float32")))


def _measure(shape: Shape, precision: str, config: TrainingConfig) -> list[Record]:
    """The records of one shape and precision, after a table of them."""
    sides = [
        Side(OURS, precision, "train_bertjax", PLAIN),
        Side("torch", precision, "train_torch", {"compile": False}),
    ]
    if config.compiled:
        sides.append(Side("torch.compile", precision, "train_torch", {"compile": True}))
    facts = {
        "shape": str(shape),
        "repeats": config.repeats,
        "threads": config.threads,
        "memory": config.memory,
    }
    environment = HUGE_PAGES if config.memory == "huge-pages" else {}
    settings = {**shape.settings(), **facts}
    records = measure("training", sides, facts, settings, config.rounds, environment, config.quick)
    print_speeds(
        f"A training step, {shape}", records, lambda who: 3 * shape.forward_flops(who == OURS)
    )
    print(first_call(records), end="\n\n")
    return records


def first_call(records: Sequence[Record]) -> str:
    """What bertjax's first call is made of."""
    ours = by_side(records)[OURS, records[0]["precision"]]
    trace_s, compile_s = median_of(ours, "trace_s"), median_of(ours, "compile_s")
    return f"the first call of {OURS}: tracing {trace_s:.1f} s, compiling {compile_s:.1f} s"


if __name__ == "__main__":
    sys.exit(main())
