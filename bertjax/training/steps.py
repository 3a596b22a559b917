"""The training step: a pure function (state, batch) -> (state, metrics)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from bertjax.training.losses import Batch, Loss, Sums
from bertjax.training.optimizer import global_norm

Metrics = dict[str, jax.Array]


class TrainState(struct.PyTreeNode):
    """All that changes from step to step, and the key that does not."""

    step: jax.Array  # int32 [], number of updates done
    params: Any
    opt_state: optax.OptState
    key: jax.Array  # of the run; step s draws from fold_in(key, s), so a resumed run is unbroken


TrainStep = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def init_state(params, optimizer: optax.GradientTransformation, seed: int) -> TrainState:
    """The state before the first step."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=optimizer.init(params),
        key=jax.random.key(seed),
    )


def make_train_step(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    accumulation: int = 1,
    axis_name: str | None = None,
) -> TrainStep:
    """A step of `optimizer` on the mean of `loss`.

    Args:
        accumulation: into how many parts a batch is cut, which are computed one after another, to
            save memory; the gradient is that of the whole batch. The rows, under pmap those of a
            device, must be a multiple of it, and go to the parts by turns. Each part has a key of
            its own: with dropout its masks are others, and the gradient is the same in expectation
            alone.
        axis_name: of the mapped axis over which the batch is split, under pmap; None under jit,
            also with a mesh, where the batch is whole.

    Returns:
        (state, batch) -> (state, metrics): scalars `loss` (mean over the batch, float32) and
        `grad_norm` (before clipping). Either is not finite if the gradient is not.
    """
    gradients = make_gradients(loss, accumulation, axis_name)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(state.key, state.step)
        mean, grads = gradients(state.params, key, batch)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = {"loss": mean, "grad_norm": global_norm(grads)}
        state = state.replace(step=state.step + 1, params=params, opt_state=opt_state)
        return state, metrics

    return step


def make_gradients(loss: Loss, accumulation: int = 1, axis_name: str | None = None) -> Callable:
    """(params, key, batch) -> (mean loss, its gradient); arguments as of `make_train_step`.

    Gradients of the sum are added over parts and devices and divided once by the whole count, so
    that one device equals eight, and a padded batch is exact. The rows of a batch, under pmap those
    of a device, must be a multiple of `accumulation`.
    """

    def summed(params, key: jax.Array | None, part: Batch) -> tuple[Sums, Any]:
        def objective(params):
            sums = loss(params, key, part)
            return sums.loss, sums

        (_, sums), grads = jax.value_and_grad(objective, has_aux=True)(params)
        return sums, grads

    def accumulated(params, key: jax.Array | None, batch: Batch) -> tuple[Sums, Any]:
        parts = jax.tree.map(lambda x: _cut(x, accumulation), batch)
        keys = None if key is None else jax.random.split(key, accumulation)

        def add(total, part_and_key):
            return jax.tree.map(
                jnp.add, total, summed(params, part_and_key[1], part_and_key[0])
            ), None

        zeros = (Sums(jnp.zeros(()), jnp.zeros(())), jax.tree.map(jnp.zeros_like, params))
        return jax.lax.scan(add, zeros, (parts, keys))[0]

    def gradients(params, key: jax.Array | None, batch: Batch) -> tuple[jax.Array, Any]:
        if axis_name is not None and key is not None:
            key = jax.random.fold_in(key, jax.lax.axis_index(axis_name))
        sums, grads = (summed if accumulation == 1 else accumulated)(params, key, batch)
        if axis_name is not None:
            sums, grads = jax.lax.psum((sums, grads), axis_name)
        count = jnp.maximum(sums.count, 1e-9)  # a batch without a weight changes nothing
        # Not divided: quotients would be written out, products are computed where they are read.
        part = 1.0 / count
        return sums.loss / count, jax.tree.map(lambda g: g * part, grads)

    return gradients


def _cut(x: jax.Array, parts: int) -> jax.Array:
    """[R, ...] -> [parts, R / parts, ...]: rows by turns, so that a part has each device's."""
    return x.reshape(x.shape[0] // parts, parts, *x.shape[1:]).swapaxes(0, 1)
