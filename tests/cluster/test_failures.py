"""What Ray raises, as one line."""

import pytest
import ray

from bertjax.cluster.failures import LESS, told_in_one_line
from bertjax.errors import UserError


@ray.remote(num_cpus=0)
def fail(error: Exception) -> None:
    raise error


@ray.remote(num_cpus=0)
def fail_beside_a_word() -> None:
    raise ValueError("it broke")  # which is no MemoryError


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UserError("the table is empty: fill it"), "the table is empty: fill it; kept"),
        (KeyError("title"), "the search failed ('title'); kept"),
        (MemoryError(), f"the search ran out of memory: {LESS}; kept"),
        (RuntimeError("RESOURCE_EXHAUSTED: 8 GB"), f"the search ran out of memory: {LESS}; kept"),
    ],
)
def test_the_line_is_that_of_the_task(error, expected, ray_here):
    with pytest.raises(UserError) as told, told_in_one_line("the search", lambda: "; kept"):
        ray.get(fail.remote(error))
    assert str(told.value) == expected


def test_a_traceback_that_speaks_of_memory_is_no_lack_of_it(ray_here):
    with (
        pytest.raises(UserError, match=r"^the search failed \(it broke\)$") as told,
        told_in_one_line("the search"),
    ):
        ray.get(fail_beside_a_word.remote())
    assert "no MemoryError" in str(told.value.__cause__)


@ray.remote(num_cpus=0)
class Unready:
    def __init__(self):
        raise ValueError("no such model")

    def ask(self) -> None:
        pass


def test_an_actor_that_does_not_come_up_is_no_lack_of_memory(ray_here):
    with pytest.raises(UserError, match=r"no such model\)$"), told_in_one_line("the search"):
        ray.get(Unready.remote().ask.remote())
