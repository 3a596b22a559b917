import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache
from jax.experimental.serialize_executable import serialize

from bertjax.training.losses import Sums
from bertjax.training.parallel import ALLOCATION, make_runner
from bertjax.training.steps import init_state


@pytest.fixture
def wide(sgd):
    """A compiled step with a dozen temporary buffers of 4 MB and more; its state and batch."""

    def chain(params, _key, batch):
        x = batch["x"]
        for w in params.values():
            x = jnp.sin(x @ w)
        return Sums(x.sum(), jnp.ones(()))

    draw = np.random.default_rng(0).normal
    params = {str(i): draw(0.0, 0.03, (1024, 1024)).astype(np.float32) for i in range(12)}

    def make(**options):
        runner = make_runner("jit", chain, sgd, **options)
        state = runner.place(init_state(params, sgd, seed=0))
        batch = runner.place_batch({"x": np.ones((1024, 1024), np.float32)})
        return runner.step.lower(state, batch).compile(), state, batch

    return make


def in_one_allocation(compiled) -> bool:
    """Whether the temporary buffers are one: XLA cannot serialise a program of several."""
    try:
        serialize(compiled)
    except jax.errors.JaxRuntimeError as error:
        if "Multiple temp buffer allocations" not in str(error):
            raise
        return False
    return True


def enable_compilation_cache(enabled: bool) -> None:
    jax.config.update("jax_enable_compilation_cache", enabled)
    compilation_cache.reset_cache()  # JAX reads its settings once


@pytest.fixture
def uncached():
    """Without the folder of compiled programs that the tests have."""
    before = jax.config.jax_enable_compilation_cache
    enable_compilation_cache(False)
    yield
    enable_compilation_cache(before)


def test_memory_of_a_small_step_is_in_parts(wide, uncached):
    whole, state, batch = wide()
    parts, same_state, _ = wide(largest_activation=ALLOCATION)
    assert in_one_allocation(whole)
    assert not in_one_allocation(parts)
    (after, _), (same, _) = whole(state, batch), parts(same_state, batch)
    assert jax.tree.all(jax.tree.map(np.array_equal, same.params, after.params))


@pytest.mark.parametrize(
    "options",
    [
        {"largest_activation": ALLOCATION + 1},
        {"largest_activation": 4, "remat": True},
        {"largest_activation": 4, "accumulation": 2},
    ],
)
def test_memory_is_in_one_part_where_more_would_only_take_more(wide, uncached, options):
    assert in_one_allocation(wide(**options)[0])


def test_memory_is_in_one_part_where_programs_are_kept(wide):
    assert jax.config.jax_enable_compilation_cache
    assert jax.config.jax_compilation_cache_dir
    assert in_one_allocation(wide(largest_activation=4)[0])


_SCRIPT = """
import sys, jax, jax.numpy as jnp, optax
from bertjax.training.losses import Sums
from bertjax.training.parallel import make_runner
from bertjax.training.steps import init_state

def loss(params, key, batch):
    return Sums(jnp.sin(jnp.sin(batch["x"] @ params["w"]) @ params["w"]).sum(), jnp.ones(()))

params, sgd = {"w": jnp.ones((2200, 2200))}, optax.sgd(0.1)  # whose gradient is 19 MB
runner = make_runner("jit", loss, sgd, largest_activation=4)
jax.block_until_ready(runner.step(init_state(params, sgd, seed=0), {"x": jnp.ones((8, 2200))}))
print("the user's own", file=sys.stderr, flush=True)
options = {"xla_multiheap_size_constraint_per_heap": "1000000"}
jax.jit(lambda x: jnp.sort(jnp.sort(x @ x) @ x), compiler_options=options)(jnp.ones((600, 600)))
"""


@pytest.mark.parametrize(("level", "told"), [(None, False), ("0", True)])
def test_buffers_that_are_larger_than_an_allocation_are_no_news(level, told):
    environment = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "false", "JAX_PLATFORMS": "cpu"}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    if level:
        environment["TF_CPP_MIN_LOG_LEVEL"] = level
    command = [sys.executable, "-c", _SCRIPT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    of_step, of_user = done.stderr.split("the user's own")
    assert ("larger than the per-heap size limit" in of_step) == told
    assert "larger than the per-heap size limit" in of_user
