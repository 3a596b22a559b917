"""Scores of held-out rows in the course of a fine-tuning, with the parameters at hand."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from bertjax.checkpoints.folder import Checkpoint
from bertjax.data.batches import packed_in_order, unpack
from bertjax.data.packing import plan_packing
from bertjax.evaluation.scores import classification_scores
from bertjax.training.losses import example_losses
from bertjax.workflows.prepare import TokenizedRows

Score = Callable[[Any, TokenizedRows], np.ndarray]  # parameters, N rows -> logits [N, C]

TEXTS = 64  # a batch, about


def make_evaluate(
    checkpoint: Checkpoint, rows: TokenizedRows, score: Score
) -> Callable[[Any], dict[str, float]]:
    """Parameters -> loss and scores of the rows."""

    def evaluate(params) -> dict[str, float]:
        logits = score(params, rows)
        losses = example_losses(logits, rows.labels, "single_label_classification")
        scores = classification_scores(rows.labels, logits, checkpoint.labels)
        names = ("accuracy", "weighted_f1", "macro_f1")
        return {"loss": float(losses.mean()), **{name: scores[name] for name in names}}

    return evaluate


def make_score(checkpoint: Checkpoint, lengths: np.ndarray) -> Score:
    """Parameters and rows -> logits [N, C]: packed, in one shape for all rows of these lengths."""
    plan = plan_packing(lengths, TEXTS, 0, 1, checkpoint.config.hidden_size)
    pad = checkpoint.config.pad_token_id or 0

    @jax.jit
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
