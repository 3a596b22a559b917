"""Training steps of a random BERT classifier: bertjax's step, with the recipe's AdamW."""

import jax
import numpy as np

from benchmarks.children.matmul import matmul_flops_jax
from benchmarks.children.result import read_settings, write_result
from benchmarks.children.timing import time_calls
from benchmarks.memory import peak_resident_bytes
from bertjax.models.configs import BertConfig
from bertjax.models.heads import make_model
from bertjax.training.configs import OptimizerConfig
from bertjax.training.losses import classification_loss
from bertjax.training.optimizer import make_optimizer
from bertjax.training.parallel import make_runner
from bertjax.training.steps import init_state


def main() -> None:
    settings = read_settings()
    config = BertConfig(**settings["sizes"])
    texts, length = settings["texts"], settings["length"]
    model = make_model(config, "text-classification", settings["precision"])
    rng = np.random.default_rng(0)
    batch = {
        "input_ids": rng.integers(0, config.vocab_size, (texts, length), np.int32),
        "segment_ids": np.ones((texts, length), np.int32),
        "labels": rng.integers(0, config.num_labels, (texts, 1), np.int32),
        "weights": np.ones((texts, 1), np.float32),
    }
    params = jax.jit(model.init)(jax.random.key(0), batch["input_ids"][:1])
    optimizer = make_optimizer(OptimizerConfig(), steps=1000)
    runner = make_runner("jit", classification_loss(model.apply), optimizer)
    state = runner.place(init_state(params, optimizer, seed=0))
    del params

    def step() -> None:
        nonlocal state
        state, metrics = runner.step(state, batch)
        jax.block_until_ready((state, metrics))

    first, seconds = time_calls(step, settings["repeats"])
    result = {"first_s": first, "call_s": seconds, "peak_bytes": peak_resident_bytes()}
    write_result(result | {"matmul_flops": matmul_flops_jax(settings["precision"])})


if __name__ == "__main__":
    main()
