"""A new head that fits its classes before training begins.

With a head of random numbers the first steps push the whole encoder toward whatever that head
happens to read. Logistic regression on what the frozen encoder gives makes one that reads what is
there already (LP-FT: Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features and
Underperform Out-of-Distribution").

N texts, D width, C classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from bertjax.checkpoints.folder import Checkpoint
from bertjax.workflows.configs import FinetuneConfig
from bertjax.workflows.recipe import balanced_weights
from bertjax.workflows.scoring import Pass

ROWS = 2048  # at most: a head has few parameters, and more rows take time
_HEAD = "classifier"  # of the parameters
_SOLVER: Any = {"tol": 1e-6, "max_iter": 1000}  # tight: another machine comes to the same head


class Head(NamedTuple):
    """A linear classifier of the pooled output."""

    w: np.ndarray  # [D, C] float32
    b: np.ndarray  # [C] float32
    accuracy: float  # on the rows that it was fitted to


def is_new(checkpoint: Checkpoint) -> bool:
    """Whether the head is one that nobody has trained."""
    missing = (*checkpoint.report.missing, *checkpoint.report.mismatched)
    return any(name.startswith(f"{_HEAD}.") for name in missing)


def fit_head(
    checkpoint: Checkpoint,
    forward: Pass,
    token_ids: Sequence[np.ndarray],
    targets: np.ndarray,
    balanced: bool,
) -> Head | None:
    """Logistic regression on the checkpoint's pooled outputs of N texts [T_n].

    Of more than `ROWS` texts, on as many from everywhere among them. The same texts give the same
    bits. None where there is nothing to fit: texts of one class, or outputs that are no numbers.

    Args:
        forward: of the checkpoint's model.
        targets: classes [N] int, or their probabilities [N, C]; a class without a text starts as
            improbable as the rarest.
        balanced: whether rare classes weigh as much as frequent ones.
    """
    every = max(1, -(-len(token_ids) // ROWS))
    token_ids, targets = token_ids[::every], targets[::every]
    classes = checkpoint.config.num_labels
    weights = targets if targets.ndim == 2 else np.eye(classes)[targets]  # [N, C]
    if balanced:
        weights = weights * balanced_weights(weights.sum(axis=0))
    features = forward.pooled(checkpoint.params, token_ids).astype(np.float64)
    if len(np.unique(weights.nonzero()[1])) < 2 or not np.isfinite(features).all():
        return None
    w, b = _logistic_regression(features, weights)
    right = (features @ w + b).argmax(axis=1) == weights.argmax(axis=1)
    return Head(w.astype(np.float32), b.astype(np.float32), float(right.mean()))


def _logistic_regression(
    features: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """([D, C], [C]) for rows [N, D] that count `weights` [N, C] as rows of each class."""
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    rows, classes = weights.nonzero()
    with threadpool_limits(1, "blas"):  # the order of sums, and so the bits, is that of threads
        fitted = LogisticRegression(**_SOLVER).fit(
            features[rows], classes, sample_weight=weights[rows, classes]
        )
    coefficients, intercepts = fitted.coef_, fitted.intercept_  # [C', D], [C'] of those present
    if len(fitted.classes_) == 2:  # of which scikit-learn keeps the difference
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercepts = np.concatenate([-intercepts, intercepts]) / 2
    w = np.zeros((features.shape[1], weights.shape[1]))
    b = np.full(weights.shape[1], intercepts.min())
    w[:, fitted.classes_], b[fitted.classes_] = coefficients.T, intercepts
    return w, b


def with_head(
    checkpoint: Checkpoint,
    config: FinetuneConfig,
    fit: Callable[[], Head | None],
    say: Callable[[str], None],
) -> Checkpoint:
    """The checkpoint with the head that `fit` gives, if it has a new one and the settings ask."""
    if config.head == "random" or not is_new(checkpoint):
        return checkpoint
    head = fit()
    if head is None:
        return checkpoint
    say(f"the new head begins as logistic regression, right on {head.accuracy:.1%} of its rows")
    arrays = {"w": jnp.asarray(head.w), "b": jnp.asarray(head.b)}
    return replace(checkpoint, params={**checkpoint.params, _HEAD: arrays})
