"""A short training of a small BERT by several processes, run by test_joined.py.

Usage: joined_run.py RANK COUNT PORT OUT
"""

import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bertjax.data.batches import Share, packed_batches
from bertjax.data.packing import plan_packing
from bertjax.models.configs import BertConfig
from bertjax.models.dropout import kept, random_bits
from bertjax.models.heads import make_model
from bertjax.training.configs import MeshShape
from bertjax.training.losses import classification_loss, without_rows_of
from bertjax.training.mesh import batch_sharding, make_mesh
from bertjax.training.parallel import make_runner
from bertjax.training.steps import init_state

STEPS, SEED, DROPOUT = 20, 3, 0.1


def main(rank: int, count: int, port: int, out: Path) -> None:
    if count > 1:
        jax.distributed.initialize(f"127.0.0.1:{port}", count, rank)
    assert jax.device_count() == count
    rng = np.random.default_rng(SEED)
    ids = [rng.integers(1, 50, n).astype(np.int32) for n in rng.integers(3, 15, 160)]
    labels = rng.integers(0, 3, len(ids)).astype(np.int32)
    plan = plan_packing([len(text) for text in ids], 16, SEED, 2, hidden_size=64, row_multiple=2)
    assert 2 * plan.steps == STEPS
    share = Share(rank, count)
    batches = [
        batch
        for epoch in range(2)
        for batch in packed_batches(ids, labels, plan, SEED, epoch, share=share)
    ]
    found = {"mask": mask(plan.rows)}
    found |= split_gradient(count, batches[0])
    found |= training(batches)
    np.savez(out, **found)
    if count > 1:
        jax.distributed.shutdown()


def mask(rows: int) -> np.ndarray:
    """What dropout keeps of an array [R, 8, 16] that lies on all devices."""
    mesh = make_mesh(MeshShape())

    @partial(jax.jit, out_shardings=batch_sharding(mesh))
    def draw(key):
        return kept(random_bits(key, (rows, 8, 16)), DROPOUT)

    everywhere = jax.jit(lambda x: x, out_shardings=jax.NamedSharding(mesh, jax.P()))
    return np.asarray(everywhere(draw(jax.random.split(jax.random.key(SEED))[0])))


def split_gradient(count: int, batch) -> dict[str, np.ndarray]:
    """Of a step whose parameters are split: what gradient descent of rate 1 takes away."""
    runner, state = start(MeshShape(fsdp=count), optax.sgd(1.0))
    before = flat(state.params)
    after, _ = runner.step(runner.place(state), runner.place_batch(without_rows_of(batch)))
    after = flat(runner.collect(after.params))
    return {f"fsdp gradient {name}": before[name] - after[name] for name in before}


def training(batches) -> dict[str, np.ndarray]:
    """With rows split: the gradient of the first step, all losses, and the parameters."""
    runner, state = start(MeshShape(), adamw_after_gradient())
    state, losses, found = runner.place(state), [], {}
    for number, batch in enumerate(batches):
        if number == len(batches) // 2:  # as a run that goes on from a snapshot does
            state = runner.place(runner.collect(state))
        state, metrics = runner.step(state, runner.place_batch(without_rows_of(batch)))
        losses.append(float(metrics["loss"]))
        if number == 0:
            gradient = flat(runner.collect(state.opt_state[0]))
            found |= {f"data gradient {name}": x for name, x in gradient.items()}
    return found | {"losses": np.array(losses)} | flat(runner.collect(state.params))


def adamw_after_gradient() -> optax.GradientTransformation:
    """AdamW, whose state begins with the last gradient: one program less to compile."""
    keep = optax.GradientTransformation(
        lambda params: jax.tree.map(jnp.zeros_like, params), lambda new, *_: (new, new)
    )
    return optax.chain(keep, optax.adamw(1e-3))


def start(mesh: MeshShape, optimizer: optax.GradientTransformation):
    config = BertConfig(
        vocab_size=50,
        hidden_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=64,
        hidden_dropout_prob=DROPOUT,
        attention_probs_dropout_prob=DROPOUT,
        id2label=tuple("abc"),
    )
    model = make_model(config, "text-classification")
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 2), jnp.int32))
    rng = np.random.default_rng(SEED)  # a compiled `init` takes longer than all else here

    def draw(path, leaf) -> jax.Array:
        middle = float(path[-1].key == "scale")
        return jnp.asarray(rng.normal(middle, 0.1, leaf.shape), leaf.dtype)

    params = jax.tree_util.tree_map_with_path(draw, shapes)
    loss = classification_loss(model.apply)
    runner = make_runner("mesh", loss, optimizer, mesh=mesh)
    return runner, init_state(params, optimizer, SEED)


def flat(params) -> dict[str, np.ndarray]:
    return {
        f"{module} {name}": np.asarray(x)
        for module, values in params.items()
        for name, x in values.items()
    }


if __name__ == "__main__":
    rank, count, port = map(int, sys.argv[1:4])
    main(rank, count, port, Path(sys.argv[4]))
