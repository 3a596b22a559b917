"""`bertjax.json`: what a run folder holds besides a Hugging Face checkpoint."""

import json
from dataclasses import asdict, dataclass, field, fields
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
        known = {f.name: values[f.name] for f in fields(RunFile) if f.name in values}
        known["text"] = tuple(known.get("text", RunFile.text))
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({error}): fine-tune again") from None
    return RunFile(**known)


def write_run_file(folder: Path, run: RunFile) -> None:
    text = json.dumps(asdict(run), indent=2, ensure_ascii=False)
    (folder / NAME).write_text(text + "\n", encoding="utf-8")
