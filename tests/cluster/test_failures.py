"""What Ray raises, as one line."""

import pytest
import ray

from bertjax.cluster.failures import told_in_one_line
from bertjax.errors import UserError


@ray.remote(num_cpus=0)
def fail(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UserError("the table is empty: fill it"), "the table is empty: fill it; kept"),
        (KeyError("title"), "the search failed ('title'); kept"),
    ],
)
def test_the_line_is_that_of_the_task(error, expected, ray_here):
    with pytest.raises(UserError) as told, told_in_one_line("the search", "; kept"):
        ray.get(fail.remote(error))
    assert str(told.value) == expected
