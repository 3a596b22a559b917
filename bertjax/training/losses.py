"""Losses as (sum, count), so that devices and half batches add up to the whole exactly.

A loss is a function (params, key, batch) -> Sums. The keys of a batch: `input_ids` [R, T],
`segment_ids` [R, T], `labels` and `weights` [R, S] (multi-label and soft labels: [R, S, C]), where
R rows of T tokens hold at most S sequences each, of C classes; a weight of 0 marks an absent
sequence.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax

Batch = Mapping[str, jax.Array | np.ndarray]

_SINGLE_LABEL = "single_label_classification"


def without_rows_of(batch: Batch) -> Batch:
    """A batch without `rows_of`, which no loss reads: a step need not be given it."""
    return {name: value for name, value in batch.items() if name != "rows_of"}


class Sums(NamedTuple):
    """What is added over devices and accumulation steps, and divided once."""

    loss: jax.Array  # sum of weight x loss
    count: jax.Array  # sum of weights


class Loss(Protocol):
    """A loss to be minimised; the key is for dropout, None for none."""

    def __call__(self, params, key: jax.Array | None, batch: Batch) -> Sums: ...


def example_losses(
    logits: jax.Array | np.ndarray,
    labels: jax.Array | np.ndarray,
    problem_type: str,
    label_smoothing: float = 0.0,
) -> jax.Array:
    """The loss of each example. logits [..., C] float32 -> [...].

    single_label_classification: cross entropy, labels int [...], or soft ones, probabilities
    [..., C]; smoothing as in Szegedy et al. 2015, §7. multi_label_classification: binary cross
    entropy, mean over the classes, labels [..., C] of 0 and 1. regression: squared error, mean over
    the C targets, labels [..., C], or [...] if C is 1.

    Args:
        label_smoothing: the share of a target that is spread over all classes; single labels only.

    Raises:
        ValueError: the problem has no loss, or labels that cannot be smoothed.
    """
    _refuse_smoothing(label_smoothing, problem_type)
    if problem_type == _SINGLE_LABEL:
        targets = labels
        if labels.ndim < logits.ndim:
            targets = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
        return optax.softmax_cross_entropy(logits, optax.smooth_labels(targets, label_smoothing))
    labels = labels.reshape(logits.shape).astype(logits.dtype)
    if problem_type == "multi_label_classification":
        return optax.sigmoid_binary_cross_entropy(logits, labels).mean(axis=-1)
    if problem_type == "regression":
        return jnp.square(logits - labels).mean(axis=-1)
    raise ValueError(f"problem_type {problem_type!r} has no loss")


def classification_loss(
    apply: Callable,
    problem_type: str = "single_label_classification",
    class_weights: Sequence[float] | np.ndarray | None = None,
    label_smoothing: float = 0.0,
) -> Loss:
    """The loss of text classification over packed rows.

    Args:
        apply: `apply` of a text-classification model.
        problem_type, label_smoothing: as of `example_losses`.
        class_weights: C factors on the weight of an example, by its class; an example counts with
            its weight in the mean as well, as in torch's CrossEntropyLoss. For single labels only;
            a soft one is a mixture of its classes, each with its factor. With smoothing too, the
            whole of a smoothed target has the factor of the label; in torch's CrossEntropyLoss what
            is spread to a class has that class's own.

    Raises:
        ValueError: class weights or label smoothing for a problem that has not one class an
            example.
    """
    if class_weights is not None and problem_type != _SINGLE_LABEL:
        raise ValueError(f"class_weights need one class an example, which {problem_type} has not")
    _refuse_smoothing(label_smoothing, problem_type)
    factors = None if class_weights is None else jnp.asarray(class_weights, jnp.float32)

    def loss(params, key: jax.Array | None, batch: Batch) -> Sums:
        labels, weights = batch["labels"], batch["weights"]  # [R, S] or soft [R, S, C], [R, S]
        output = apply(
            params,
            key,
            batch["input_ids"],
            segment_ids=batch["segment_ids"],
            max_segments=weights.shape[1],
        )
        if factors is not None:
            labels, factor = _weighted(labels, factors, soft=labels.ndim > weights.ndim)
            weights = weights * factor
        losses = example_losses(output.logits, labels, problem_type, label_smoothing)  # [R, S]
        return Sums((losses * weights).sum(), weights.sum())

    return loss


def _refuse_smoothing(label_smoothing: float, problem_type: str) -> None:
    if label_smoothing and problem_type != _SINGLE_LABEL:
        raise ValueError(
            f"label_smoothing needs one class an example, which {problem_type} has not"
        )


def _weighted(
    labels: jax.Array | np.ndarray, factors: jax.Array, soft: bool
) -> tuple[jax.Array | np.ndarray, jax.Array]:
    """(labels, factor of each): a mixture of classes leans to those that weigh more."""
    if not soft:
        return labels, factors[labels]
    shares = labels * factors  # [R, S, C]
    factor = shares.sum(axis=-1)  # [R, S]; 0 where there is no sequence
    return shares / jnp.where(factor > 0, factor, 1)[..., None], factor
