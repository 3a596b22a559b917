"""Scores of held-out rows in the course of a fine-tuning, with the parameters at hand."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np

from bertjax.checkpoints.folder import Checkpoint
from bertjax.checkpoints.run_file import RunFile
from bertjax.data.batches import packed_in_order, unpack
from bertjax.data.packing import plan_packing
from bertjax.evaluation.calibration import calibration_scores, fit_temperature
from bertjax.evaluation.scores import classification_scores
from bertjax.models.compiler import compiler_options
from bertjax.training.losses import example_losses
from bertjax.workflows.prepare import TokenizedRows

Score = Callable[[Any, TokenizedRows], np.ndarray]  # parameters, N rows -> logits [N, C]

TEXTS = 64  # a batch, about


def make_evaluate(
    checkpoint: Checkpoint, rows: TokenizedRows, score: Score
) -> Callable[[Any], dict[str, float]]:
    """Parameters -> loss and scores of the rows."""

    def evaluate(params) -> dict[str, float]:
        return evaluation_scores(rows.labels, score(params, rows), checkpoint.labels)

    return evaluate


def evaluation_scores(
    targets: np.ndarray, logits: np.ndarray, labels: Sequence[str]
) -> dict[str, float]:
    """The figures of an epoch: loss and scores of rows [N] with logits [N, C]."""
    losses = example_losses(logits, targets, "single_label_classification")
    scores = classification_scores(targets, logits, labels)
    names = ("accuracy", "weighted_f1", "macro_f1")
    return {"loss": float(losses.mean()), **{name: scores[name] for name in names}}


Scored = tuple[np.ndarray, np.ndarray]  # targets [N] and logits [N, C] of rows


def with_scores(
    run: RunFile, labels: Sequence[str], validation: Scored | None, test: Scored | None
) -> RunFile:
    """The run with the temperature that suits the validation rows, and the scores of the test rows.

    None: there are no such rows.
    """
    if validation is not None:
        run = replace(run, temperature=fit_temperature(*validation))
    if test is not None:
        scores = classification_scores(*test, labels)
        calibration = calibration_scores(*test, run.temperature)
        run = replace(run, scores={**scores, "calibration": calibration})
    return run


def make_score(checkpoint: Checkpoint, lengths: np.ndarray) -> Score:
    """Parameters and rows -> logits [N, C]: packed, in one shape for all rows of these lengths."""
    plan = plan_packing(lengths, TEXTS, 0, 1, checkpoint.config.hidden_size)
    pad = checkpoint.config.pad_token_id or 0

    @partial(jax.jit, compiler_options=compiler_options())
    def logits_of(params, input_ids, segment_ids):
        output = checkpoint.model.apply(
            params, None, input_ids, segment_ids=segment_ids, max_segments=plan.max_segments
        )
        return output.logits  # [R, S, C]

    def score(params, rows: TokenizedRows) -> np.ndarray:
        logits = np.zeros((len(rows.ids), checkpoint.config.num_labels), np.float32)
        for batch in packed_in_order(rows.ids, None, plan, pad):
            values = logits_of(params, batch["input_ids"], batch["segment_ids"])
            unpack(np.asarray(values), batch["rows_of"], logits)
        return logits

    return score
