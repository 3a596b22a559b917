"""The workflow of `bertjax evaluate`: a run folder and a labelled table to scores and a report."""

import json
from collections.abc import Callable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertjax.checkpoints.atomic import refuse_existing
from bertjax.errors import UserError
from bertjax.serving.predictor import Predictor
from bertjax.workflows.configs import EvaluateConfig
from bertjax.workflows.evaluate_facts import (
    Facts,
    SliceFunctions,
    measure,
    predict_rows,
    scores_of,
)
from bertjax.workflows.evaluate_rows import Rows, Training, find_training, read_rows, seen_in
from bertjax.workflows.named_run import run_folder
from bertjax.workflows.user_code import callables, load_user_code

if TYPE_CHECKING:
    from bertjax.workflows.evaluate_further import Asked

_DECISIVE = ("bertjax", "jax", "transformers", "scikit-learn", "cleanlab", "lime")
_NEEDED = ("matplotlib", "jinja2", "cleanlab")


def evaluate(config: EvaluateConfig, say: Callable[[str], None] | None = None) -> dict[str, Any]:
    """The scores of a run on a table, as `classification_scores` gives them.

    Besides these: `calibration`, as `calibration_scores` gives it, where a text has one class;
    `dropped`, rows without a label; and `truncated`, texts that were cut. `say` is told how the
    texts are packed. With `out` all that report.json holds, after the folder of the report is
    written, whole or not at all.

    Raises:
        UserError: the run or the table cannot be read, a label was never seen in training, or
            `out` cannot be written.
    """
    config.check()
    if config.out is not None:
        refuse_existing(config.out.absolute(), config.overwrite)
        _check_packages(config)
    functions = _slice_functions(config.slices)
    folder = run_folder(config.run, config.tracking_uri)
    predictor = Predictor.load(folder, config.precision)
    if predictor.checkpoint.config.resolved_problem_type == "regression":
        raise UserError(
            f"{config.run} gives values, not classes (a regression): only classes can be scored"
        )
    asked = None if config.out is None else _read_asked(config, predictor)
    rows = read_rows(config, predictor.run, predictor.labels)
    training = None
    if config.out is not None or config.held_out:
        training = find_training(config, predictor.run, rows)
    if config.held_out:
        rows = _held_out(config, rows, training)
    found = predict_rows(predictor, rows, say)
    if config.out is None or asked is None:
        return scores_of(found)
    from bertjax.workflows.evaluate_further import measure_further

    say = say or (lambda line: None)
    facts = measure(found, training, functions, say)
    facts |= measure_further(config, predictor, found, asked, say)
    return _write(config, config.out, facts)


def _read_asked(config: EvaluateConfig, predictor: Predictor) -> "Asked":
    from bertjax.workflows.evaluate_further import read_asked

    return read_asked(config, predictor)


def _write(config: EvaluateConfig, out: Path, facts: Facts) -> Facts:
    from bertjax.workflows.evaluate_findings import find
    from bertjax.workflows.evaluate_further import further_findings, further_sections
    from bertjax.workflows.evaluate_report import compose, sections
    from bertjax.workflows.report_folder import versions_of, write_report

    settings = json.loads(json.dumps(asdict(config), default=str))
    facts = {**facts, "settings": settings, "versions": versions_of(_DECISIVE)}
    shown = [*sections(facts), *further_sections(facts)]
    report = compose(facts, shown, [*find(facts), *further_findings(facts)])
    return write_report(out, config.overwrite, report, facts)


def _check_packages(config: EvaluateConfig) -> None:
    """Before the model is at work; what is missing is told by the command."""
    for name in (*_NEEDED, *(("lime",) if config.lime else ())):
        if find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def _slice_functions(path: Path | None) -> SliceFunctions:
    if path is None:
        return {}
    functions = callables(load_user_code(path, "slices"), "slice_", "SlicingFunction")
    if not functions:
        raise UserError(
            f"{path} has no slice: write functions slice_NAME(row) that say yes or no, or Snorkel's"
        )
    return functions


def _held_out(config: EvaluateConfig, rows: Rows, training: Training | None) -> Rows:
    if training is None:
        raise UserError(
            f"--held-out: which rows {config.run} was trained on is not known; name the table with "
            "--train"
        )
    new = ~seen_in(training, rows.texts)
    if not new.any():
        raise UserError(f"--held-out: {config.run} was trained on every row of {config.data}")
    return rows.among(new)
