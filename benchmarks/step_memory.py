"""How much memory does a training step take, and what do the options that save it cost?

    python -m benchmarks.step_memory [--shapes base-8x128 minilm-32x64] [--quick]

The step of `benchmarks.training`, in one allocation: as it is, the batch cut into 2 and 4 parts
(accumulation), and with the activations of layers computed again in the backward pass
(rematerialisation). Temporary memory is what the compiler plans for a step beside its state and
batch: activations, most of all. Each is a process of its own, and they take turns.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.charts import Panel, draw, panel_of, sizes
from benchmarks.command import check_counts, run_command
from benchmarks.machine import cpu_model, use_cores
from benchmarks.processes import run_child
from benchmarks.records import megabytes, print_table, ratio
from benchmarks.shapes import Shape
from benchmarks.speed import Record, Side, by_side, measure, median_of
from bertjax.errors import UserError

OPTIONS = {
    "plain": {"accumulation": 1, "remat": False},
    "accumulation 2": {"accumulation": 2, "remat": False},
    "accumulation 4": {"accumulation": 4, "remat": False},
    "rematerialisation": {"accumulation": 1, "remat": True},
}


@dataclass(frozen=True)
class StepMemoryConfig:
    """Time and memory of a training step, with each option that saves memory."""

    shapes: tuple[str, ...] = ("base-8x128", "minilm-32x64")
    """MODEL-TEXTSxTOKENS, of 4, 8, 12 ... texts; a model of tiny, minilm, base, large."""
    rounds: int = 3
    """Processes an option; the median counts."""
    repeats: int = 5
    """Steps a process, after the first three; the median counts."""
    threads: int = 2
    """Cores that each may use."""
    quick: bool = False
    """A tiny model and one process an option: shows that it runs, and nothing else."""


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command("step_memory", StepMemoryConfig, run, arguments)


def run(config: StepMemoryConfig) -> None:
    check_counts(config, "rounds", "repeats", "threads")
    if config.quick:
        config = replace(config, shapes=("tiny-4x8",), rounds=1, repeats=2)
    shapes = [Shape.parse(name) for name in config.shapes]
    _check_parts(shapes)
    use_cores(config.threads)
    precision = run_child("auto_precision", {}).result["precision"]
    panels: list[Panel] = []
    for shape in shapes:
        facts = {"shape": str(shape), "repeats": config.repeats, "threads": config.threads}
        sides = [Side(name, precision, "train_bertjax", own) for name, own in OPTIONS.items()]
        settings = {**shape.settings(), **facts}
        records = measure("step_memory", sides, facts, settings, config.rounds, {}, config.quick)
        columns = ("", "step", "/ plain", "of peak", "tracing", "compiling")
        columns += ("temporary memory", "/ plain", "peak memory")
        print_table(f"A training step, {shape}, {precision}", columns, option_rows(records, shape))
        panels += option_panels(str(shape), records)
    note = f"{cpu_model()}, {config.threads} cores; medians of {config.rounds} processes each"
    name = "step_memory-quick" if config.quick else "step_memory"
    chart = draw(name, "What saves memory in a training step: less is better", panels, note)
    print(note, *([f"chart: {chart}"] if chart else []), sep="\n")


def _check_parts(shapes: Sequence[Shape]) -> None:
    """UserError if a batch cannot be cut into parts of the same size."""
    most = max(own["accumulation"] for own in OPTIONS.values())
    for shape in shapes:
        if shape.texts % most:
            raise UserError(
                f"{shape} cannot be cut into {most} parts: its texts must be {most}, "
                f"{2 * most}, {3 * most} ..."
            )


def option_panels(shape: str, records: Sequence[Record]) -> list[Panel]:
    """A bar an option, in panels of memory and of time; the step as it is has the colour."""
    sides = {option: own for (option, _), own in by_side(records).items()}

    def medians(key: str) -> dict[str, float]:
        return {option: median_of(own, key) for option, own in sides.items()}

    memory = medians("temporary_bytes")
    return [
        panel_of(f"{shape}, temporary memory", memory, ("plain",), sizes),
        panel_of(f"{shape}, time of a step", medians("call_s"), ("plain",)),
    ]


def option_rows(records: Sequence[Record], shape: Shape) -> list[list[str]]:
    """A row an option, each beside the first: medians of time and memory.

    Of peak counts the arithmetic of the plain step: what is computed again adds nothing.
    """
    flops = 3 * shape.forward_flops(first_only=True)
    sides = by_side(records)
    plain = next(iter(sides.values()))
    rows = []
    for (option, _), own in sides.items():
        call_s, temporary = median_of(own, "call_s"), median_of(own, "temporary_bytes")
        rows.append(
            [
                option,
                f"{call_s * 1e3:,.1f} ms",
                ratio(call_s, median_of(plain, "call_s")),
                f"{flops / call_s / median_of(own, 'matmul_flops'):.0%}",
                f"{median_of(own, 'trace_s'):.1f} s",
                f"{median_of(own, 'compile_s'):.1f} s",
                megabytes(temporary),
                ratio(temporary, median_of(plain, "temporary_bytes")),
                megabytes(median_of(own, "peak_bytes")),
            ]
        )
    return rows


if __name__ == "__main__":
    sys.exit(main())
