"""Scores of held-out rows in the course of a fine-tuning, with the parameters at hand."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from bertjax.checkpoints.folder import Checkpoint
from bertjax.checkpoints.run_file import RunFile
from bertjax.data.bulk import Group
from bertjax.data.packing import plan_packing
from bertjax.evaluation.calibration import calibration_scores, fit_temperature
from bertjax.evaluation.scores import classification_scores
from bertjax.models.compiler import compiler_options
from bertjax.serving.packed import compute_packed
from bertjax.training.losses import example_losses
from bertjax.workflows.prepare import TokenizedRows

Score = Callable[[Any, TokenizedRows], np.ndarray]  # parameters, N rows -> logits [N, C]

TEXTS = 64  # a batch, about
SAMPLE = 2048  # of lengths: so many decide on the shape of batches


def make_evaluate(
    labels: Sequence[str], rows: TokenizedRows, score: Score
) -> Callable[[Any], dict[str, float]]:
    """Parameters -> loss and scores of the rows."""

    def evaluate(params) -> dict[str, float]:
        return evaluation_scores(rows.labels, score(params, rows), labels)

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


Forward = Callable[[Any, Sequence[np.ndarray]], np.ndarray]  # parameters, N arrays of ids [T_n]


class Pass(NamedTuple):
    """What a classifier computes of N texts: one program, of which one result is kept."""

    pooled: Forward  # [N, D] float32, what the head reads
    logits: Forward  # [N, C] float32


def score_with(forward: Pass) -> Score:
    """The logits of a pass."""
    return lambda params, rows: forward.logits(params, rows.ids)


def make_pass(
    checkpoint: Checkpoint, lengths: Sequence[int] | np.ndarray, longest: int = 0
) -> Pass:
    """A forward pass without dropout over texts that are packed in one shape.

    Args:
        lengths: tokens of texts like those to come, or of those themselves.
        longest: tokens of the longest text to come, if none of these is as long.
    """
    # The model and not the checkpoint, whose parameters the pass would keep in memory.
    config, model, lengths = checkpoint.config, checkpoint.model, np.asarray(lengths)
    some = lengths[:: max(1, len(lengths) // SAMPLE)]
    longest = max(longest, int(lengths.max()))
    plan = plan_packing(some, TEXTS, 0, 1, config.hidden_size, longest=longest)

    @partial(jax.jit, compiler_options=compiler_options())
    def compute(params, input_ids, segment_ids) -> tuple[jax.Array, jax.Array]:
        output = model.apply(
            params,
            None,
            input_ids,
            segment_ids=segment_ids,
            max_segments=plan.max_segments,
            output_pooler=True,
        )
        return output.pooler_output, output.logits  # [R, S, D], [R, S, C]

    def reads(result: int, width: int) -> Forward:
        def forward(params, token_ids: Sequence[np.ndarray]) -> np.ndarray:
            def program(input_ids: np.ndarray, segment_ids: np.ndarray, _: int) -> jax.Array:
                return compute(params, input_ids, segment_ids)[result]

            group = Group(np.arange(len(token_ids)), plan)
            return compute_packed(program, token_ids, [group], width, config.padding_id)

        return forward

    return Pass(reads(0, config.hidden_size), reads(1, config.num_labels))
