"""How fast is a training step, beside transformers with torch?

    python -m benchmarks.training [--shapes base-8x128 minilm-32x64] [--huge-pages] [--quick]

A BERT text classifier with random weights, on texts that are all of one length, so that nothing but
the step is compared: forward and backward with dropout 0.1, clipping, AdamW. Each side is a process
of its own, and the sides take turns.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.command import run_command
from benchmarks.machine import use_cores
from benchmarks.processes import require
from benchmarks.shapes import Shape
from benchmarks.speed import Side, measure, print_speeds
from bertjax.errors import UserError

HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


@dataclass(frozen=True)
class TrainingConfig:
    """Time of a training step, beside transformers with torch."""

    shapes: tuple[str, ...] = ("base-8x128", "minilm-32x64")
    """MODEL-TEXTSxTOKENS; a model of tiny, minilm, base, large."""
    precisions: tuple[str, ...] = ("bfloat16", "float32")
    """Of products: bfloat16 (torch: autocast), float32."""
    rounds: int = 3
    """Processes a side; the median counts."""
    repeats: int = 5
    """Steps a process, after the first three; the median counts."""
    threads: int = 2
    """Cores that each side may use."""
    compiled: bool = False
    """Measure `torch.compile` too."""
    huge_pages: bool = False
    """Have glibc ask for huge pages, on all sides."""
    quick: bool = False
    """A tiny model and one process a side: shows that the benchmark runs, and nothing else."""


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command("training", TrainingConfig, run, arguments)


def run(config: TrainingConfig) -> None:
    for name in ("rounds", "repeats", "threads"):
        if getattr(config, name) < 1:
            raise UserError(f"--{name} must be at least 1, found {getattr(config, name)}")
    shapes = [Shape.parse(name) for name in (("tiny-2x8",) if config.quick else config.shapes)]
    require("torch")
    use_cores(config.threads)
    rounds, repeats = (1, 2) if config.quick else (config.rounds, config.repeats)
    environment = HUGE_PAGES if config.huge_pages else {}
    for shape in shapes:
        for precision in config.precisions:
            shared = {"precision": precision, "repeats": repeats, "threads": config.threads}
            sides = [
                Side("bertjax", "train_bertjax", {}),
                Side("torch", "train_torch", {"compile": False}),
            ]
            if config.compiled:
                sides.append(Side("torch.compile", "train_torch", {"compile": True}))
            records = measure("training", shape, sides, shared, rounds, environment, config.quick)
            print_speeds(
                f"A training step, {shape}, {precision}", records, 3 * shape.forward_flops()
            )


if __name__ == "__main__":
    sys.exit(main())
