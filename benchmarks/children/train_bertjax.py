"""Training steps of a random BERT classifier: bertjax's step, with the recipe's AdamW."""

import time
from typing import Any

import jax
import numpy as np

from benchmarks.children.matmul import matmul_flops_jax
from benchmarks.children.result import read_settings, write_result
from benchmarks.children.timing import time_calls
from benchmarks.memory import peak_resident_bytes
from bertjax.models.configs import BertConfig
from bertjax.models.heads import make_model
from bertjax.process import keep_memory
from bertjax.training.configs import OptimizerConfig
from bertjax.training.losses import classification_loss
from bertjax.training.optimizer import make_optimizer
from bertjax.training.parallel import make_runner
from bertjax.training.steps import init_state


def main() -> None:
    settings = read_settings()
    if settings.get("memory") == "kept":
        keep_memory()
    config = BertConfig(**settings["sizes"])
    texts, length = settings["texts"], settings["length"]
    remat = settings["remat"]
    model = make_model(config, "text-classification", settings["precision"], remat=remat)
    rng = np.random.default_rng(0)
    batch = {
        "input_ids": rng.integers(0, config.vocab_size, (texts, length), np.int32),
        "segment_ids": np.ones((texts, length), np.int32),
        "labels": rng.integers(0, config.num_labels, (texts, 1), np.int32),
        "weights": np.ones((texts, 1), np.float32),
    }
    params = jax.jit(model.init)(jax.random.key(0), batch["input_ids"][:1])
    optimizer = make_optimizer(OptimizerConfig(), steps=1000)
    loss = classification_loss(model.apply)
    runner = make_runner("jit", loss, optimizer, settings["accumulation"], remat=remat)
    state = runner.place(init_state(params, optimizer, seed=0))
    batch = runner.place_batch(batch)
    del params
    compiled, stages = compile_step(runner.step, state, batch)

    def step() -> None:
        nonlocal state
        state, metrics = compiled(state, batch)
        jax.block_until_ready((state, metrics))

    first, seconds = time_calls(step, settings["repeats"])
    first += stages["trace_s"] + stages["compile_s"]
    result = {"first_s": first, "call_s": seconds, **stages, "peak_bytes": peak_resident_bytes()}
    write_result(result | {"matmul_flops": matmul_flops_jax(settings["precision"])})


def compile_step(jitted: Any, *arguments: Any) -> tuple[Any, dict[str, float]]:
    """The compiled step; the seconds of tracing (lowering included) and compiling.

    With them the bytes that the compiler plans for temporary buffers, beside state and batch.
    """
    began = time.perf_counter()
    lowered = jitted.trace(*arguments).lower()
    traced = time.perf_counter()
    compiled = lowered.compile()
    stages = {"trace_s": traced - began, "compile_s": time.perf_counter() - traced}
    return compiled, stages | {"temporary_bytes": compiled.memory_analysis().temp_size_in_bytes}


if __name__ == "__main__":
    main()
