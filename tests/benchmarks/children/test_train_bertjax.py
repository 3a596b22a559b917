import jax
import jax.numpy as jnp

from benchmarks.children.train_bertjax import compile_step


def test_the_stages_of_a_compilation_are_told_apart() -> None:
    def step(x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.sin(x) @ y

    x, y = jnp.ones((3, 4)), jnp.ones((4, 5))
    compiled, stages = compile_step(jax.jit(step), x, y)
    assert compiled(x, y).shape == (3, 5)
    assert set(stages) == {"trace_s", "compile_s", "temporary_bytes"}
    assert all(value >= 0 for value in stages.values())
