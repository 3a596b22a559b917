"""A short training with snapshots, to be killed and run again by test_snapshots.py.

Usage: killed_run.py SNAPSHOTS OUT WAIT_AFTER: stand still after so many steps; -1: never.
"""

import hashlib
import json
import signal
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from bertjax.data.batches import packed_batches
from bertjax.data.packing import plan_packing
from bertjax.models.heads import ModelOutput
from bertjax.models.segments import mean_tokens
from bertjax.training.configs import OptimizerConfig
from bertjax.training.loop import LoopConfig, fit
from bertjax.training.losses import classification_loss
from bertjax.training.optimizer import make_optimizer
from bertjax.training.parallel import make_runner
from bertjax.training.snapshots import Snapshots
from bertjax.training.steps import init_state

EPOCHS, SEED = 2, 3


def main(folder: Path, out: Path, wait_after: int) -> None:
    rng = np.random.default_rng(SEED)
    ids = [rng.integers(1, 50, n).astype(np.int32) for n in rng.integers(3, 15, 40)]
    labels = rng.integers(0, 2, len(ids)).astype(np.int32)
    plan = plan_packing([len(text) for text in ids], 10, SEED, EPOCHS, hidden_size=16)
    params = {
        name: jnp.asarray(rng.standard_normal(shape), jnp.float32)
        for name, shape in {"embeddings": (50, 8), "w": (8, 2), "b": (2,)}.items()
    }
    optimizer = make_optimizer(OptimizerConfig(learning_rate=1e-2), EPOCHS * plan.steps)
    runner = make_runner("jit", classification_loss(apply), optimizer)
    states = []

    def step(state, batch):
        state, metrics = runner.step(state, batch)
        states.append(state)
        return state, metrics

    def batches(epoch):
        for number, batch in enumerate(packed_batches(ids, labels, plan, SEED, epoch)):
            if epoch * plan.steps + number == wait_after:
                signal.pause()
            yield batch

    result = fit(
        LoopConfig(EPOCHS, plan.steps, "size", log_every=3),
        replace(runner, step=step),
        runner.place(init_state(params, optimizer, SEED)),
        batches,
        lambda params: {"size": -sum(float(abs(x).sum()) for x in jax.tree.leaves(params))},
        Snapshots(folder, {"seed": SEED}, every_steps=2),
    )
    found = {
        "params": digest(result.params),
        "last": digest((states[-1].params, states[-1].opt_state)),
        "history": result.history,
        "best_epoch": result.best_epoch,
        "steps": result.steps,
        "first_step": result.steps - len(states),
    }
    out.write_text(json.dumps(found))


def apply(params, key, input_ids, segment_ids, max_segments) -> ModelOutput:
    """Mean of word embeddings with dropout, and a dense layer."""
    x = params["embeddings"][input_ids]  # [R, T, D]
    x = jnp.where(jax.random.bernoulli(key, 0.8, x.shape), x / 0.8, 0.0)
    return ModelOutput(logits=mean_tokens(x, segment_ids, max_segments) @ params["w"] + params["b"])


def digest(params) -> str:
    """Of all bits."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(params):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
