"""Training steps of a random BERT classifier: bertjax's step, with the recipe's AdamW."""

import time
from typing import Any

import jax

from benchmarks.children.matmul import matmul_flops_jax
from benchmarks.children.result import jax_device, read_settings, write_result
from benchmarks.children.step_texts import make_batch
from benchmarks.children.timing import preparing, time_calls, time_steps, timing
from benchmarks.memory import peak_resident_bytes
from bertjax.models.configs import BertConfig
from bertjax.models.fused_attention import trains_with_local_attention
from bertjax.models.heads import make_model
from bertjax.process import keep_memory
from bertjax.training.configs import OptimizerConfig
from bertjax.training.losses import Batch, classification_loss
from bertjax.training.optimizer import make_optimizer
from bertjax.training.parallel import Runner, make_runner
from bertjax.training.steps import TrainState, init_state


def main() -> None:
    settings = read_settings()
    if settings.get("memory") == "kept":
        keep_memory()
    lock = settings.get("lock")
    with preparing(lock):
        local = trains_with_local_attention(BertConfig(**settings["sizes"]), settings["precision"])
        batch = make_batch(settings, BertConfig().num_labels, local)
        rows, row_length = batch["input_ids"].shape
        runner, state, batch = _prepare(settings, batch)
        compiled, stages = compile_step(runner.step, state, batch)

        def step() -> Any:
            nonlocal state
            state, metrics = compiled(state, batch)
            return state, metrics

        first, _ = time_calls(lambda: jax.block_until_ready(step()), 0, warm_up=1)
    together = settings.get("together", 1)
    seconds = time_steps(step, jax.block_until_ready, settings["repeats"], together, lock)
    peak_bytes = peak_resident_bytes()
    if statistics := jax.devices()[0].memory_stats():  # None on a processor
        peak_bytes = statistics["peak_bytes_in_use"]
    first += stages["trace_s"] + stages["compile_s"]
    result = {"first_s": first, "call_s": seconds, **stages, "rows": rows, "row_length": row_length}
    result |= {"peak_bytes": peak_bytes, "device": jax_device()}
    with timing(lock):
        write_result(result | {"matmul_flops": matmul_flops_jax(settings["precision"])})


def _prepare(settings: dict[str, Any], batch: Batch) -> tuple[Runner, TrainState, Batch]:
    """The step, with state and batch where it wants them."""
    config = BertConfig(**settings["sizes"])
    remat = settings["remat"]
    model = make_model(config, "text-classification", settings["precision"], remat=remat)
    params = jax.jit(model.init)(jax.random.key(0), batch["input_ids"][:1, :1])
    optimizer = make_optimizer(OptimizerConfig(), steps=1000)
    loss = classification_loss(model.apply)
    # Else in one allocation, whatever the size: steps of several sizes are compared, or memory is.
    largest = config.largest_activation(*batch["input_ids"].shape)
    runner = make_runner(
        "jit",
        loss,
        optimizer,
        settings["accumulation"],
        remat=remat,
        largest_activation=largest if settings.get("keep") else None,
    )
    state = runner.place(init_state(params, optimizer, seed=0))
    return runner, state, runner.place_batch(batch)


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
