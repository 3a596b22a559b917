"""How fast does bertjax compute, beside torch, ONNX Runtime, OpenVINO and KerasHub?

    python -m benchmarks.inference --data reviews.tsv projects.csv --text sentence title [--quick]

Three questions, on the processor: the forward pass of batches of one shape (random weights); the
probabilities of many texts of mixed lengths, from text; the latency of one text of 32 tokens. In
the last two all sides read the same weights and tokenizer, and the peers sort texts by length and
take the best of a few ways to batch them. Each side is a process of its own, and sides take turns.
"""

import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.charts import Panel, draw, panel
from benchmarks.command import check_counts, run_command
from benchmarks.inference_sides import (
    ALL,
    ENGINES,
    PRECISIONS,
    Engine,
    Part,
    Precision,
    missing,
    sides,
)
from benchmarks.inference_table import counted, print_one_text, print_texts
from benchmarks.machine import cpu_model, use_cores
from benchmarks.mixed_texts import mixed_texts
from benchmarks.processes import PROCESSOR, require, run_child
from benchmarks.shapes import Shape
from benchmarks.speed import OURS, Record, Side, measure, print_speeds
from bertjax.checkpoints.resolve import DEFAULT_CHECKPOINT, resolve
from bertjax.errors import UserError

ONE_TEXT = " ".join(["the"] * 30)  # 32 tokens with [CLS] and [SEP]


@dataclass(frozen=True)
class InferenceConfig:
    """Time of a forward pass, of many texts and of one, beside other libraries."""

    parts: tuple[Part, ...] = ALL
    """Which of the three questions."""
    shapes: tuple[str, ...] = ("minilm-32x64", "base-8x128")
    """Of forward passes: MODEL-TEXTSxTOKENS; a model of tiny, minilm, base, large."""
    data: tuple[str, ...] = ("sample",)
    """Tables of texts: .csv, .tsv, .jsonl or .parquet files with a header, or `sample`."""
    text: tuple[str, ...] = ("text", "title", "description")
    """Columns that hold text: of each table, those that it has."""
    texts: int = 10_000
    """So many texts, in a seeded order; repeated where the tables have fewer."""
    checkpoint: str = DEFAULT_CHECKPOINT
    """Of many texts and of one: a classifier, or a BERT that gets a random head of 4 classes."""
    precisions: tuple[Precision, ...] = ()
    """Of products. None: float32, int8, and bfloat16 where the hardware multiplies it."""
    batch_sizes: tuple[int, ...] = (16, 32, 64)
    """Texts a batch, of which the peers take the best; bertjax has its own. They also take the
    better of one batch at a time on all threads, and a batch for each thread."""
    rounds: int = 3
    """Processes a side; the median counts."""
    repeats: int = 5
    """Forward passes a process, after the first three; the median counts."""
    passes: int = 1
    """Times that a process classifies all texts, after the first."""
    calls: int = 300
    """Calls with one text a process."""
    threads: int = 2
    """Cores that each side may use."""
    compiled: bool = False
    """Measure the forward pass of `torch.compile` too."""
    quick: bool = False
    """A tiny model, few texts, one process a side: shows that it runs, and nothing else."""


@dataclass(frozen=True)
class Task:
    """What the three parts share."""

    config: InferenceConfig
    engines: tuple[Engine, ...]  # those that take part
    precisions: tuple[Precision, ...]
    folder: Path  # for the models

    def sides(self, part: Part) -> list[Side]:
        return sides(part, self.engines, self.precisions)

    def measure(
        self, part: Part, taking: Sequence[Side], facts: Record, settings: Record
    ) -> list[Record]:
        config = self.config
        facts = {"part": part, "threads": config.threads, **facts}
        settings = {"threads": config.threads, **settings}
        return measure("inference", taking, facts, settings, config.rounds, PROCESSOR, config.quick)

    def model(self, name: str, program: str, settings: Record) -> str:
        """The folder of a classifier that `program` writes, and its forms for the peers."""
        folder = str(self.folder / name)
        run_child(program, {**settings, "folder": folder}, PROCESSOR)
        names = [engine.name for engine in self.engines]
        run_child("export_peers", {"folder": folder, "engines": names}, PROCESSOR)
        return folder

    def classifier(self) -> str:
        """The folder of the classifier of texts; made by the first part that asks for it."""
        name = "classifier"
        if (self.folder / name).exists():
            return str(self.folder / name)
        return self.model(name, "make_head", {"checkpoint": self.config.checkpoint})


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command("inference", InferenceConfig, run, arguments)


def run(config: InferenceConfig) -> None:
    config = _checked(config)
    engines = _taking_part(config)
    texts = mixed_texts(config.data, config.text, config.texts, seed=0)
    precisions = _precisions(config)
    use_cores(config.threads)
    note = f"{cpu_model()}, {config.threads} cores; medians of {config.rounds} processes each"
    with tempfile.TemporaryDirectory(prefix="bertjax-inference-") as folder:
        task = Task(config, engines, precisions, Path(folder))
        for part in config.parts:
            panels = PARTS[part](task, texts)
            name = f"inference-{part}-quick" if config.quick else f"inference-{part}"
            if path := panels and draw(name, "BERT inference: shorter is faster", panels, note):
                print(f"chart: {path}")
    print(note)


def _checked(config: InferenceConfig) -> InferenceConfig:
    """The settings as they will be used. UserError: one that cannot be."""
    check_counts(config, "texts", "rounds", "repeats", "passes", "calls", "threads")
    if not config.parts:
        raise UserError(f"there is nothing to measure: name some of {', '.join(ALL)} after --parts")
    if not config.batch_sizes or min(config.batch_sizes) < 1:
        raise UserError(f"--batch-sizes must be 1 or more each, found {config.batch_sizes}")
    if not config.shapes and "forward" in config.parts:
        raise UserError("there is nothing to measure: name shapes after --shapes")
    for shape in config.shapes:
        Shape.parse(shape)
    config = replace(config, checkpoint=str(resolve(config.checkpoint).resolve()))
    if config.quick:
        quick = {"rounds": 1, "repeats": 2, "calls": 10, "texts": 40}
        config = replace(config, shapes=("tiny-2x8",), **quick)
    return config


def _taking_part(config: InferenceConfig) -> tuple[Engine, ...]:
    """The engines that are measured; a line for each that is not installed."""
    require("torch")
    engines = tuple(e for e in ENGINES if config.compiled or e.name != "torch.compile")
    left_out = missing(engines)
    for name in left_out:
        print(f"{name} is not installed: it is left out (`make bench` installs it)")
    return tuple(e for e in engines if e.name not in left_out)


def _precisions(config: InferenceConfig) -> tuple[Precision, ...]:
    """Those that are asked for, or those that the hardware multiplies."""
    if config.precisions:
        return config.precisions
    if run_child("auto_precision", {}, PROCESSOR).result["precision"] == "bfloat16":
        return PRECISIONS
    print("no bfloat16: this processor does not multiply it (`--precisions bfloat16` asks anyway)")
    return tuple(precision for precision in PRECISIONS if precision != "bfloat16")


def _forward(task: Task, texts: Sequence[str]) -> list[Panel]:
    panels = []
    for shape in map(Shape.parse, task.config.shapes):
        settings = {**shape.settings(), "repeats": task.config.repeats}
        folder = task.model(str(shape), "make_random", {"sizes": settings["sizes"]})
        facts = {"shape": str(shape), "repeats": task.config.repeats}
        settings |= {"folder": folder}
        records = task.measure("forward", task.sides("forward"), facts, settings)
        print_speeds(
            f"Forward pass, {shape}", records, lambda who, s=shape: s.forward_flops(who == OURS)
        )
        title = f"{shape.model}, {shape.texts} texts of {shape.length} tokens"
        panels.append(panel(title, records))
    return panels


def _texts(task: Task, texts: Sequence[str]) -> list[Panel]:
    config = task.config
    settings = {
        "folder": task.classifier(),
        "texts": str(task.folder / "texts.json"),
        "reference": str(task.folder / "reference.npy"),
        "threads": config.threads,
    }
    Path(settings["texts"]).write_text(json.dumps(texts), encoding="utf-8")
    reference = run_child("reference_classes", settings, PROCESSOR).result
    settings |= {"batch_sizes": config.batch_sizes, "repeats": config.passes}
    taking = [_with_batching(side, settings) for side in task.sides("texts")]
    facts = {
        "texts": len(texts),
        "fingerprint": hashlib.sha256("\n".join(texts).encode()).hexdigest(),
        "data": [Path(name).name for name in config.data],
        "columns": config.text,
        "checkpoint": Path(config.checkpoint).name,
        "batch_sizes": config.batch_sizes,
        "class_counts": reference["class_counts"],
    }
    records = task.measure("texts", taking, facts, settings)
    title = f"{len(texts):,} texts, from text to probabilities"
    print_texts(title, records)
    return [panel(title, shown)] if (shown := counted(records)) else []


def _with_batching(side: Side, settings: Record) -> Side:
    """With the size of batches, and how many at a time, that are fastest for a peer."""
    if side.name == OURS:
        return side
    own = {**settings, "precision": side.precision, **side.settings}
    chosen = run_child("choose_batch", own, PROCESSOR).result
    return replace(side, settings={**side.settings, **chosen})


def _one_text(task: Task, texts: Sequence[str]) -> list[Panel]:
    settings = {"folder": task.classifier(), "text": ONE_TEXT, "calls": task.config.calls}
    facts = {"calls": task.config.calls, "checkpoint": Path(task.config.checkpoint).name}
    records = task.measure("one-text", task.sides("one-text"), facts, settings)
    title = f"One text of {records[0]['tokens']} tokens"
    print_one_text(f"{title}, {task.config.calls} calls a process", records)
    return [panel(f"{title}, from text", records, "text_p50_s")]


PARTS: dict[Part, Callable[[Task, Sequence[str]], list[Panel]]] = {
    "forward": _forward,
    "texts": _texts,
    "one-text": _one_text,
}

if __name__ == "__main__":
    sys.exit(main())
