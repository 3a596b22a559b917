from threading import Event

import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.data.shapes import SEGMENTS, Shape
from bertjax.serving.programs import Programs

SHAPES = [Shape(1, 8), Shape(1, 16), Shape(1, 64), Shape(4, 64)]


@pytest.fixture
def shapes_seen() -> list[tuple[int, ...]]:
    """The shapes for which the function below was traced."""
    return []


@pytest.fixture
def programs(shapes_seen) -> Programs:
    """For each text: its number of tokens, and their sum times a parameter."""

    def function(params, input_ids, segment_ids):
        shapes_seen.append(tuple(input_ids.shape))
        numbers = np.arange(1, SEGMENTS + 1, dtype=np.int32)
        members = segment_ids[:, None, :] == numbers[None, :, None]  # [R, S, T]
        counts = members.sum(-1).astype(np.float32)
        sums = (members * input_ids[:, None, :]).sum(-1).astype(np.float32) * params["scale"]
        return jnp.stack([counts, sums], -1)

    return Programs(function, {"scale": np.float32(2)}, SHAPES, 384, 0)


def texts(*lengths: int) -> list[np.ndarray]:
    return [np.full(n, i + 1, np.int32) for i, n in enumerate(lengths)]


def expected(*lengths: int) -> list[list[float]]:
    return [[n, 2 * n * (i + 1)] for i, n in enumerate(lengths)]


LENGTHS = [(5,), (5, 3, 60), (64,), (9,) * 30, (1,) * 70]


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("compiled", [False, True])
def test_each_text_gets_its_own_values_whatever_it_shares_a_row_with(lengths, compiled, programs):
    if compiled:
        programs.compile()
    assert programs(texts(*lengths)).tolist() == expected(*lengths)


def test_compiling_traces_once_and_no_text_compiles_after_it(programs, shapes_seen):
    programs.compile()
    assert len(shapes_seen) == 1  # with both sizes left open
    for lengths in LENGTHS:
        programs(texts(*lengths))
    programs.compile()
    assert len(shapes_seen) == 1


def test_enough_is_compiled_as_soon_as_any_text_fits_a_shape(programs, shapes_seen):
    programs.compile_enough()
    assert sorted(programs._compiled) == [(1, 64)]
    found = [programs(texts(*lengths)).tolist() for lengths in LENGTHS]
    assert found == [expected(*lengths) for lengths in LENGTHS]
    stop = Event()
    stop.set()
    programs.compile(stop)
    assert sorted(programs._compiled) == [(1, 64)]  # the rest was stopped
    programs.compile()
    assert sorted(programs._compiled) == sorted(SHAPES)
    assert len(shapes_seen) == 1


def test_nothing_is_compiled_once_it_is_stopped(programs):
    stop = Event()
    stop.set()
    programs.compile(stop)
    assert programs._compiled == {}


def test_no_text_is_no_batch(programs):
    with pytest.raises(ValueError, match="there must be a text at least"):
        programs([])
