"""AdamW with warm-up, decay of the learning rate, a decay mask and clipping."""

import jax
import jax.numpy as jnp
import optax
from flax import traverse_util

from bertjax.models.partial_sums import partial_sums
from bertjax.training.configs import OptimizerConfig

# Biases, norms and learned activations are not decayed (Devlin et al. 2018, appendix A.2, as in
# its published code).
DECAYED = ("w", "embeddings", "decoder")


def learning_rate_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Learning rate by step: a linear rise, then a linear or cosine fall to 0 at `steps`."""
    peak, warm = config.learning_rate, int(config.warmup * steps)
    rest = max(steps - warm, 1)
    if config.decay == "cosine":
        fall = optax.cosine_decay_schedule(peak, rest)
    else:
        fall = optax.linear_schedule(peak, 0.0, rest)
    # The first step uses a rate above 0: a step at rate 0 would teach nothing.
    rise = optax.linear_schedule(peak / (warm + 1), peak, max(warm, 1))
    return optax.join_schedules([rise, fall], [warm]) if warm else fall


def decay_mask(params):
    """True where weight decay applies, by the name of the parameter."""
    return traverse_util.path_aware_map(lambda path, _: path[-1] in DECAYED, params)


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """AdamW (Loshchilov & Hutter 2017) for a run of `steps` updates."""
    adamw = optax.adamw(
        learning_rate_schedule(config, steps),
        b1=config.b1,
        b2=config.b2,
        eps=config.eps,
        weight_decay=config.weight_decay,
        mask=decay_mask,
    )
    if not config.clip_norm:
        return adamw
    return optax.chain(clip_by_global_norm(config.clip_norm), adamw)


def clip_by_global_norm(most: float) -> optax.GradientTransformation:
    """`optax.clip_by_global_norm` with the norm below and one factor for all entries."""

    def clip(updates, _params):
        factor = jnp.minimum(1.0, most / jnp.maximum(global_norm(updates), 1e-30))
        return jax.tree.map(lambda x: x * factor, updates)

    return optax.stateless(clip)


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
