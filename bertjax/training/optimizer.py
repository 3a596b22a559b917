"""AdamW with warm-up, decay of the learning rate, a decay mask and clipping."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct, traverse_util

from bertjax.models.partial_sums import partial_sums
from bertjax.training.configs import OptimizerConfig

VERSION = 2  # of what a state holds: one of another version is not gone on from

# Biases, norms and learned activations are not decayed (Devlin et al. 2018, appendix A.2, as in
# its published code).
DECAYED = ("w", "embeddings", "decoder")


class Schedule(struct.PyTreeNode):
    """Learning rate by step: a linear rise, then a linear or cosine fall to 0.

    Its numbers are arrays, which the optimizer's state carries: a step that was compiled for one
    run serves others, at other rates and of other lengths.
    """

    peak: jax.Array  # float32 []
    warm: jax.Array  # float32 [], steps of the rise
    rest: jax.Array  # float32 [], steps of the fall
    decay: str = struct.field(pytree_node=False)

    def __call__(self, step: jax.typing.ArrayLike) -> jax.Array:
        step = jnp.asarray(step, jnp.float32)
        # The first step uses a rate above 0: a step at rate 0 would teach nothing.
        rise = (step + 1) / (self.warm + 1)
        fall = 1 - jnp.clip((step - self.warm) / self.rest, 0, 1)
        if self.decay == "cosine":
            fall = (1 - jnp.cos(jnp.pi * fall)) / 2
        return self.peak * jnp.where(step < self.warm, rise, fall)


def learning_rate_schedule(config: OptimizerConfig, steps: int) -> Schedule:
    """The schedule of a run of `steps` updates, at whose end the rate is 0."""
    warm = int(config.warmup * steps)
    numbers = (jnp.float32(x) for x in (config.learning_rate, warm, max(steps - warm, 1)))
    return Schedule(*numbers, decay=config.decay)


def decay_mask(params):
    """True where weight decay applies, by the name of the parameter."""
    return traverse_util.path_aware_map(lambda path, _: path[-1] in DECAYED, params)


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """AdamW (Loshchilov & Hutter 2017) for a run of `steps` updates."""
    adam = optax.scale_by_adam(config.b1, config.b2, config.eps)
    after = _decay_and_scale(config, steps)
    if not config.clip_norm:
        return optax.chain(adam, after)
    return optax.chain(clip_by_global_norm(config.clip_norm), adam, after)


def clip_by_global_norm(most: float) -> optax.GradientTransformation:
    """`optax.clip_by_global_norm` with the norm below and one factor for all entries.

    The state is the largest norm, float32 [].
    """

    def init(params) -> Any:
        return jnp.float32(most)

    def update(updates, state: Any, params=None):
        factor = jnp.minimum(1.0, state / jnp.maximum(global_norm(updates), 1e-30))
        return jax.tree.map(lambda x: x * factor, updates), state

    return optax.GradientTransformation(init, update)


class _Scaling(struct.PyTreeNode):
    step: jax.Array  # int32 [], number of updates done
    rate: Schedule
    weight_decay: jax.Array  # float32 []


def _decay_and_scale(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """What `optax.adamw` does after Adam, with its numbers in the state."""

    def init(params) -> Any:
        rate = learning_rate_schedule(config, steps)
        return _Scaling(jnp.zeros((), jnp.int32), rate, jnp.float32(config.weight_decay))

    def update(updates, state: Any, params=None):
        rate = state.rate(state.step)

        def change(update: jax.Array, param: jax.Array, decayed: bool) -> jax.Array:
            return -rate * (update + state.weight_decay * param if decayed else update)

        changes = jax.tree.map(change, updates, params, decay_mask(params))
        return changes, state.replace(step=state.step + 1)

    return optax.GradientTransformation(init, update)


@jax.jit  # traced once, where a step asks for it twice
def global_norm(tree) -> jax.Array:
    """The root of the sum of all squares, float32 []; what `optax.tree.norm` computes."""
    squares = jax.lax.platform_dependent(
        *jax.tree.leaves(tree), cpu=_squares_in_parts, default=_squares
    )
    return jnp.sqrt(squares)


def _squares(*arrays: jax.Array) -> jax.Array:
    """An accelerator takes longer to start a sum than to add up a vector: they are put together."""
    vectors = [x.reshape(-1) for x in arrays if x.ndim < 2]
    together = [jnp.concatenate(vectors)] if vectors else []
    matrices = [x for x in arrays if x.ndim > 1]
    return sum((jnp.square(x).sum() for x in (*matrices, *together)), jnp.zeros(()))


def _squares_in_parts(*arrays: jax.Array) -> jax.Array:
    """A processor sums each in one loop: see `partial_sums`."""
    return sum((_square_in_parts(x).sum() for x in arrays), jnp.zeros(()))


@jax.jit  # traced once a shape
def _square_in_parts(x: jax.Array) -> jax.Array:
    # Columns where the number of rows, of a vocabulary say, is no multiple of eight.
    return partial_sums(jnp.square(x), axes=(0, 1))
