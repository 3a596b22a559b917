"""Limits that could not be kept are refused."""

import pytest

from bertjax.errors import UserError
from bertjax.serving.settings import Limits


def test_those_that_nobody_sets_can_be_kept():
    Limits().check()


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(max_texts=0), "--max-texts is 0, but must be from 1 to 2147483647"),
        (Limits(max_body_bytes=2**31), "--max-body-bytes is 2147483648, but must be from 1"),
        (Limits(max_characters=-1), "--max-characters is -1"),
        (Limits(timeout=0), "--timeout is 0, but must be above 0, and below"),
        (Limits(timeout=float("nan")), "--timeout is nan"),
        (Limits(max_wait_ms=-1), "--max-wait-ms is -1, but must be from 0 to 1000"),
        (Limits(max_texts=1, max_queue=1), "--max-queue is 1, but must be at least 2"),
        (Limits(max_texts=9, max_queue=8), "--max-texts 9 of a request would never fit into"),
    ],
)
def test_each_has_a_range(limits, message):
    with pytest.raises(UserError) as error:
        limits.check()
    assert str(error.value).startswith(message)
