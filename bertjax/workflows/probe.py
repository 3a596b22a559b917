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
from bertjax.models.heads import make_model
from bertjax.workflows.configs import FinetuneConfig
from bertjax.workflows.scoring import make_pass

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
    checkpoint: Checkpoint, token_ids: Sequence[np.ndarray], labels: np.ndarray, balanced: bool
) -> Head | None:
    """Logistic regression on the checkpoint's pooled outputs of N texts [T_n].

    Of more than `ROWS` texts, on as many from everywhere among them. The same texts give the same
    bits. None where there is nothing to fit: texts of one class, or outputs that are no numbers.

    Args:
        labels: [N] int; a class without a text starts as improbable as the rarest.
        balanced: whether rare classes weigh as much as frequent ones.
    """
    every = max(1, -(-len(token_ids) // ROWS))
    token_ids, labels = token_ids[::every], labels[::every]
    config = checkpoint.config
    model = make_model(config, "feature-extraction", checkpoint.precision)
    encoder = replace(checkpoint, task="feature-extraction", model=model)
    lengths = np.array([len(ids) for ids in token_ids])
    pooled = make_pass(encoder, lengths, config.hidden_size, lambda out: out.pooler_output)
    features = pooled(checkpoint.params, token_ids).astype(np.float64)
    classes = np.unique(labels)
    if len(classes) < 2 or not np.isfinite(features).all():
        return None

    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    weights = "balanced" if balanced else None
    with threadpool_limits(1, "blas"):  # the order of sums, and so the bits, is that of threads
        fitted = LogisticRegression(**_SOLVER, class_weight=weights).fit(features, labels)
    coefficients, intercepts = fitted.coef_, fitted.intercept_  # [C', D], [C']
    if len(classes) == 2:  # of which scikit-learn keeps the difference
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercepts = np.concatenate([-intercepts, intercepts]) / 2
    w = np.zeros((config.hidden_size, config.num_labels), np.float32)
    b = np.full(config.num_labels, intercepts.min(), np.float32)
    w[:, classes], b[classes] = coefficients.T, intercepts
    return Head(w, b, float(fitted.score(features, labels)))


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
