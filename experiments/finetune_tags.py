"""Tag machine-learning projects by title and description, the task of the Made With ML course.

    python -m experiments.finetune_tags projects.csv --out runs/tags

A table with the columns title, description and tag; without one, the embedded sample. Every flag of
`bertjax finetune` works here too; this file only sets other defaults.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import tyro

from bertjax.cli import STYLE, run
from bertjax.workflows.configs import FinetuneConfig

RECIPE = FinetuneConfig(
    data="sample",
    text=("title", "description"),
    label="tag",
    out=Path("runs/tags"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    config = tyro.cli(
        FinetuneConfig,
        prog="python -m experiments.finetune_tags",
        default=RECIPE,
        args=arguments,
        config=STYLE,
    )
    return run(config)


if __name__ == "__main__":
    sys.exit(main())
