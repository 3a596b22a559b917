"""`bertjax.json`: what a run folder holds besides a Hugging Face checkpoint."""

import json
import math
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from bertjax.errors import UserError

NAME = "bertjax.json"


@dataclass(frozen=True)
class RunFile:
    """How texts were prepared, and where the parameters come from."""

    text: tuple[str, ...] = ("text",)  # columns, joined in this order
    label: str | None = None  # column
    clean: bool = False  # whether texts are cleaned before tokenizing
    max_length: int | None = None  # tokens a text, special ones included; None: the model's most
    ladder: tuple[int, ...] = ()  # tokens to which a text is padded, ascending; (): powers of 2
    temperature: float = 1.0  # by which logits are divided
    threshold: float | None = None  # a probability under it is no answer
    settings: dict[str, Any] = field(default_factory=dict)  # every setting of the training
    data: dict[str, Any] = field(default_factory=dict)  # fingerprint, rows, classes, truncation
    versions: dict[str, str] = field(default_factory=dict)  # of Python and the packages
    training: dict[str, Any] = field(default_factory=dict)  # epochs, seconds, how it ended
    scores: dict[str, Any] = field(default_factory=dict)  # on the held-out rows


def read_run_file(folder: Path) -> RunFile:
    """The folder's `bertjax.json`; the defaults for a checkpoint that has none.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / NAME
    if not path.is_file():
        return RunFile()
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError(f"it holds a {type(values).__name__}")
        run = RunFile(**{f.name: values[f.name] for f in fields(RunFile) if f.name in values})
        _check(run)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}): fine-tune again") from None
    return replace(run, text=tuple(run.text), ladder=tuple(run.ladder))


def _check(run: RunFile) -> None:
    """ValueError if a field that changes predictions has a value that it cannot have."""
    text, length = run.text, run.max_length
    valid = {
        "text": isinstance(text, list | tuple) and all(isinstance(name, str) for name in text),
        "clean": isinstance(run.clean, bool),
        "max_length": length is None or (type(length) is int and length > 0),
        "ladder": _is_ladder(run.ladder),
        "temperature": _is_number(run.temperature) and run.temperature > 0,
        "threshold": run.threshold is None or _is_number(run.threshold),
    }
    for name, is_valid in valid.items():
        if not is_valid:
            raise ValueError(f"{name} is {getattr(run, name)!r}")


def _is_ladder(rungs: Any) -> bool:
    if not isinstance(rungs, list | tuple) or not all(type(rung) is int for rung in rungs):
        return False
    return all(below < rung for below, rung in pairwise((0, *rungs)))


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def write_run_file(folder: Path, run: RunFile) -> None:
    """Write `bertjax.json`; a number that is not finite, which JSON has not, becomes null."""
    text = json.dumps(_finite(asdict(run)), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / NAME).write_text(text + "\n", encoding="utf-8")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
