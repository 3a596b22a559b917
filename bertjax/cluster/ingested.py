"""What is asked of an ingestion and what it has found, and how that is kept beside the shards.

A run that is gone on with takes the rows that were read for it the first time.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bertjax.cluster.sources import is_table, list_files
from bertjax.data.shards import Shard
from bertjax.data.splits import Parts
from bertjax.data.storage import exists, read_text, stamps, write_text

PARTS = Parts._fields
NAME = "ingested.json"  # of the file in the folder of the shards
_SAMPLE = 2**20  # texts whose lengths stand for all


@dataclass(frozen=True)
class Reading:
    """What the rows of a table are to become."""

    data: str
    text: tuple[str, ...]  # columns
    label: str  # column
    clean: bool
    checkpoint: str  # whose tokenizer is taken; by name, for each machine has it elsewhere
    max_length: int  # tokens
    folder: str  # for the shards
    vocabulary: int  # token ids that there are
    pad_token_id: int
    test_size: float
    validation_size: float
    seed: int


@dataclass
class Part:
    """Rows that serve for one purpose; token ids are places in the table's own vocabulary."""

    shards: list[Shard] = field(default_factory=list)
    tokens: int = 0
    longest: int = 0
    counts: Any = 0  # rows of each class [C]


@dataclass(frozen=True)
class Ingested:
    """A table whose rows lie in shards."""

    class_rows: dict[str, int]
    vocabulary: np.ndarray  # token ids in use [U], ascending
    train: Part
    validation: Part
    test: Part
    histogram: np.ndarray  # rows of each length [max_length + 1]
    dropped: int
    truncated: int
    fingerprint: str

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.class_rows)

    @property
    def rows(self) -> int:
        return sum(self.class_rows.values())

    @property
    def lengths(self) -> np.ndarray:
        """Of the texts, or of a sample in the same proportions, the longest among them."""
        thinning = max(1, self.rows // _SAMPLE)
        return np.repeat(np.arange(len(self.histogram)), -(-self.histogram // thinning))


def write(folder: str, asked: dict[str, Any], found: Ingested) -> None:
    """Keep what was found beside the shards; `asked` as it was before they were read."""
    notes = {"asked": asked, "found": asdict(found)}
    write_text(f"{folder}/{NAME}", json.dumps(notes, default=np.ndarray.tolist))


def read(reading: Reading) -> Ingested | None:
    """What was found before; None where nothing was, or where something else was asked."""
    notes = _notes(reading.folder)
    if notes is None or notes["asked"] != describe(reading):
        return None
    found: dict[str, Any] = notes["found"]
    found |= {name: _part(found[name]) for name in PARTS}
    found |= {name: np.array(found[name]) for name in ("vocabulary", "histogram")}
    return Ingested(**found)


def refuse_other(reading: Reading) -> None:
    """Raise a UserError if something else was asked before, or the files have changed since."""
    from bertjax.training.snapshots import refuse_other_settings  # imports jax

    if notes := _notes(reading.folder):
        refuse_other_settings(notes["asked"], describe(reading), reading.folder)


def describe(reading: Reading) -> dict[str, Any]:
    """What is asked, and of which files, ready for JSON."""
    files = {}
    if list_files(reading.data):
        files = {file: of for file, of in stamps(reading.data).items() if is_table(Path(file))}
    digest = hashlib.sha256(json.dumps(files).encode()).hexdigest()[:8]
    return {**json.loads(json.dumps(asdict(reading))), "files": digest}


def _notes(folder: str) -> dict[str, Any] | None:
    path = f"{folder}/{NAME}"
    return json.loads(read_text(path)) if exists(path) else None


def _part(values: Mapping[str, Any]) -> Part:
    shards = [Shard(**shard) for shard in values["shards"]]
    return Part(shards, values["tokens"], values["longest"], np.array(values["counts"]))
