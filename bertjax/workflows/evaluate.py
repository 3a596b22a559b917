"""The workflow of `bertjax evaluate`: a run folder and a labelled table to scores."""

from collections.abc import Callable
from typing import Any

import numpy as np

from bertjax.data.labels import encode_labels
from bertjax.data.sources import read_table
from bertjax.errors import UserError
from bertjax.evaluation.calibration import calibration_scores
from bertjax.evaluation.scores import classification_scores
from bertjax.serving.predictor import Predictor
from bertjax.workflows.configs import EvaluateConfig
from bertjax.workflows.named_run import run_folder


def evaluate(config: EvaluateConfig, say: Callable[[str], None] | None = None) -> dict[str, Any]:
    """The scores of a run on a table, as `classification_scores` gives them.

    Besides these: `calibration`, as `calibration_scores` gives it, where a text has one class;
    `dropped`, rows without a label; and `truncated`, texts that were cut. `say` is told how the
    texts are packed.

    Raises:
        UserError: the run or the table cannot be read, or a label was never seen in training.
    """
    folder = run_folder(config.run, config.tracking_uri)
    predictor = Predictor.load(folder, config.precision)
    label = config.label or predictor.run.label
    if label is None:
        raise UserError(f"{config.run} does not say which column holds the class: pass --label")
    table = read_table(config.data, config.text or predictor.run.text, label)
    targets = encode_labels(table.labels or [], predictor.labels)
    result = predictor.predict(table.texts, say)
    scores = classification_scores(targets, result.probabilities, predictor.labels)
    counts = {"dropped": table.dropped, "truncated": int(result.truncated.sum())}
    if predictor.checkpoint.config.resolved_problem_type != "single_label_classification":
        return {**scores, **counts}  # whose probabilities are not those of one class of several
    # The logits, but for what all classes of a row share, which no probability depends on.
    temperature = predictor.run.temperature
    logits = temperature * np.log(np.maximum(result.probabilities, np.finfo(np.float32).tiny))
    calibration = calibration_scores(targets, logits, temperature)
    return {**scores, "calibration": calibration, **counts}
