import pytest

from benchmarks.children.finetune_bertjax import Compilations


def test_the_step_is_told_apart_from_all_else_that_is_compiled() -> None:
    compilations = Compilations()
    for event, seconds, function in (
        ("jaxpr_trace_duration", 1.0, "step"),
        ("jaxpr_to_mlir_module_duration", 0.5, "jit(step)"),
        ("backend_compile_duration", 4.0, "jit(step)"),
        ("backend_compile_duration", 0.25, "jit(step)"),
        ("jaxpr_trace_duration", 7.0, "init"),
        ("backend_compile_duration", 2.0, "jit(init)"),
    ):
        compilations.listen(f"/jax/core/compile/{event}", seconds, fun_name=function)
    compilations.listen("/jax/compilation_cache/cache_retrieval_time_sec", 9.0)
    assert compilations.figures() == {
        "step_trace_s": 1.5,
        "step_compile_s": 4.25,
        "compile_s": 6.25,
    }


def test_nothing_compiled_is_no_time() -> None:
    assert sum(Compilations().figures().values()) == pytest.approx(0)
