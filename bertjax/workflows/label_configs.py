"""The settings of `bertjax label`; light to import."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from bertjax.errors import UserError

Combine = Literal["label-model", "majority"]


@dataclass(frozen=True, kw_only=True)
class LabelConfig:
    """Label a table of texts by rules of yours, and see what each rule is worth."""

    data: Positional[str]
    """A .csv, .tsv, .jsonl or .parquet file, a URL of one, a Hub dataset, or `sample`."""
    rules: Path
    """A Python file with functions rule_*(row), each of which returns the name of a class, or None
    to abstain; or with labeling functions of Snorkel's and a list CLASSES."""
    text: tuple[str, ...] = ("text",)
    """Columns that hold the text; several are joined by a space. Rules find it as row.text."""
    out: Path | None = None
    """Where DATA's rows are written with their weak labels and probabilities: .csv, .tsv, .jsonl or
    .parquet; by default nowhere: the rules are only shown."""
    combine: Combine = "label-model"
    """How votes become probabilities. label-model: Snorkel's, which learns from agreements and
    conflicts how far each rule can be trusted; majority: each vote counts the same."""
    unlabelled: Literal["drop", "keep"] = "drop"
    """What becomes of rows on which no rule votes, or the votes tie. keep: they are written without
    a label, and finetune leaves them out."""
    gold: str | None = None
    """Column that holds the true class of some or all rows, to see how often rules are right;
    nothing is learned from it."""
    seed: int = 0
    """Of the label model."""
    json: bool = False
    """Print what is shown as JSON."""
    overwrite: bool = False
    """Replace --out if it exists."""

    def check(self) -> None:
        """Raise a UserError if a setting is out of its range."""
        if self.seed < 0:
            raise UserError(f"--seed is {self.seed}, but must be at least 0")
