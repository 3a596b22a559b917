"""The settings of `bertjax explore`; light to import."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from bertjax.checkpoints.resolve import DEFAULT_CHECKPOINT
from bertjax.errors import UserError
from bertjax.models.configs import Precision

NO_CHECKPOINT = "none"
MAP_TEXTS = 3  # fewer make no map

Map = Literal["auto", "umap", "pca", "none"]


@dataclass(frozen=True, kw_only=True)
class ExploreConfig:
    """Look at a table of texts before training on it: a report with pictures, and as JSON."""

    data: Positional[str]
    """A .csv, .tsv, .jsonl or .parquet file, a URL of one, a Hub dataset, or `sample`."""
    out: Path
    """The folder to write: report.html, report.json and figures/ with each picture as PNG."""
    text: tuple[str, ...] = ("text",)
    """Columns that hold the text; several are joined by a space."""
    label: str | None = None
    """Column that holds the class; by default `label` if there is such a one, else none."""
    against: str | None = None
    """Another table, as of test rows, of which the texts are looked for in DATA; by default the
    rows that finetune would hold out are."""
    test_size: float = 0.2
    """Share of the rows that finetune would hold out."""
    seed: int = 0
    """Of that split, and of the texts that are drawn for the map."""
    checkpoint: str = DEFAULT_CHECKPOINT
    """Whose tokens are counted, and whose embeddings make the map; none: neither."""
    map: Map = "auto"
    """Of the embeddings in two dimensions; auto: umap where the package umap-learn is installed,
    else pca."""
    limit: int = 2000
    """Texts on the map; of more, so many are drawn."""
    precision: Precision = "auto"
    """Of matrix products; auto: bfloat16 where the hardware has it, else float32."""
    overwrite: bool = False
    """Replace the folder if it exists."""

    def check(self) -> None:
        """Raise a UserError if a setting is out of its range."""
        if not 0 < self.test_size < 1:
            raise UserError(f"--test-size is {self.test_size}, but must lie between 0 and 1")
        if self.seed < 0:
            raise UserError(f"--seed is {self.seed}, but must be at least 0")
        if self.limit < MAP_TEXTS:
            raise UserError(
                f"--limit is {self.limit}, but must be at least {MAP_TEXTS}; "
                "--map none draws no map"
            )
