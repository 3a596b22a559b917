"""Who takes part in `benchmarks.inference`, in which precision, and in which of its parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from benchmarks.speed import OURS, Side

Part = Literal["forward", "texts", "one-text"]
Precision = Literal["bfloat16", "float32", "int8"]

PRECISIONS: tuple[Precision, ...] = ("bfloat16", "float32", "int8")
PROGRAMS: dict[Part, str] = {
    "forward": "forward",
    "texts": "classify_texts",
    "one-text": "classify_one",
}
FORWARD_ONLY: tuple[Part, ...] = ("forward",)
ALL: tuple[Part, ...] = tuple(PROGRAMS)


@dataclass(frozen=True)
class Engine:
    """One way to compute with a BERT: an entry of `benchmarks.children.engines`."""

    name: str
    precisions: tuple[Precision, ...]
    parts: tuple[Part, ...] = ALL
    packages: tuple[str, ...] = ()  # modules without which it takes no part


ENGINES = (
    Engine(OURS, ("bfloat16", "float32")),
    Engine("torch", ("bfloat16", "float32"), packages=("torch",)),
    Engine("torch, autocast", ("bfloat16",), packages=("torch",)),
    Engine("torch.compile", ("bfloat16", "float32"), FORWARD_ONLY, ("torch",)),
    Engine("ONNX Runtime", ("float32", "int8"), packages=("onnx", "onnxruntime")),
    Engine("OpenVINO", ("bfloat16", "float32"), packages=("openvino",)),
    Engine("KerasHub", ("bfloat16", "float32"), FORWARD_ONLY, ("keras", "keras_hub")),
)


def missing(engines: Sequence[Engine]) -> list[str]:
    """The names of those whose packages are not installed."""
    return [e.name for e in engines if any(find_spec(package) is None for package in e.packages)]


def sides(part: Part, engines: Sequence[Engine], precisions: Sequence[Precision]) -> list[Side]:
    """Those of a part: of each engine the precisions that are asked for, the shortest first."""
    return [
        Side(engine.name, precision, PROGRAMS[part], {"engine": engine.name})
        for engine in engines
        if part in engine.parts
        for precision in engine.precisions
        if precision in precisions
    ]
