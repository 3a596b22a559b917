"""The workflow of `bertjax explore`: a table to a report of what it holds."""

from collections.abc import Callable
from dataclasses import asdict
from importlib.util import find_spec

from bertjax.checkpoints.atomic import refuse_existing
from bertjax.checkpoints.folder import load
from bertjax.errors import UserError
from bertjax.workflows.explore_configs import NO_CHECKPOINT, ExploreConfig
from bertjax.workflows.explore_facts import Facts, measure, read_rows
from bertjax.workflows.explore_report import compose
from bertjax.workflows.report_folder import versions_of, write_report

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
    facts = {**facts, "settings": settings, "versions": versions_of(_DECISIVE)}
    return write_report(config.out, config.overwrite, compose(facts, rows), facts)
