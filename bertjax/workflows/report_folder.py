"""The folder of a report: the page, all numbers as JSON, and each picture as PNG."""

import json
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from bertjax.checkpoints.atomic import new_folder
from bertjax.evaluation.drawing import write_png
from bertjax.evaluation.report import Report, render

PAGE, NUMBERS, FIGURES = "report.html", "report.json", "figures"


def write_report(
    out: Path, overwrite: bool, report: Report, facts: dict[str, Any]
) -> dict[str, Any]:
    """Write the folder, whole or not at all, and return the facts as the JSON holds them.

    Raises:
        UserError: it exists and `overwrite` is not set, or cannot be written.
        ModuleNotFoundError: a package of the extra `report` is not installed.
    """
    with new_folder(out.absolute(), overwrite) as folder:
        (folder / FIGURES).mkdir()
        for figure in report.figures:
            write_png(figure, folder / FIGURES)
        (folder / PAGE).write_text(render(report), encoding="utf-8")
        text = json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False)
        (folder / NUMBERS).write_text(text + "\n", encoding="utf-8")
    return json.loads(text)


def versions_of(packages: Sequence[str]) -> dict[str, str]:
    """Of those that are installed as such."""
    found = {name: list(metadata.distributions(name=name)) for name in packages}
    return {name: one[0].version for name, one in found.items() if one}
