"""The workflow of `bertjax explore`: a table to a report of what it holds."""

import json
from collections.abc import Callable
from dataclasses import asdict
from importlib import metadata
from importlib.util import find_spec

from bertjax.checkpoints.atomic import new_folder, refuse_existing
from bertjax.checkpoints.folder import load
from bertjax.errors import UserError
from bertjax.evaluation.drawing import write_png
from bertjax.evaluation.report import render
from bertjax.workflows.explore_configs import NO_CHECKPOINT, ExploreConfig
from bertjax.workflows.explore_facts import Facts, measure, read_rows
from bertjax.workflows.explore_report import compose

_DECISIVE = ("bertjax", "jax", "transformers", "scikit-learn", "datasketch")
# A trained head is not what a text's embedding comes from.
_HEADS = ("classifier.*", "cls.*", "qa_outputs.*")


def explore(config: ExploreConfig, say: Callable[[str], None] | None = None) -> Facts:
    """Write report.html, report.json and figures/*.png into `out`, and return what the JSON holds.

    The folder appears whole or not at all. `say` is told of the steps.

    Raises:
        UserError: the table or the checkpoint cannot be read, or `out` cannot be written.
    """
    say = say or (lambda line: None)
    config.check()
    refuse_existing(config.out.absolute(), config.overwrite)
    if config.map == "umap" and find_spec("umap") is None:
        raise UserError("--map umap needs the package umap-learn: pip install it, or --map pca")
    rows = read_rows(config)
    checkpoint = None
    if config.checkpoint != NO_CHECKPOINT:
        precision = config.precision
        checkpoint = load(
            config.checkpoint, "feature-extraction", precision=precision, allow=_HEADS
        )
    facts = measure(config, rows, checkpoint, say)
    settings = {**asdict(config), "out": str(config.out)}
    facts = {**facts, "settings": settings, "versions": _versions()}
    report = compose(facts, rows)
    with new_folder(config.out.absolute(), config.overwrite) as folder:
        (folder / "figures").mkdir()
        for figure in report.figures:
            write_png(figure, folder / "figures")
        (folder / "report.html").write_text(render(report), encoding="utf-8")
        text = json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False)
        (folder / "report.json").write_text(text + "\n", encoding="utf-8")
    return json.loads(text)


def _versions() -> dict[str, str]:
    """Of the packages that decide the numbers and are installed as such."""
    found = {name: list(metadata.distributions(name=name)) for name in _DECISIVE}
    return {name: one[0].version for name, one in found.items() if one}
