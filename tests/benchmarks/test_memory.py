import pytest

from benchmarks import memory

pytestmark = pytest.mark.skipif(not memory._STATUS.exists(), reason="memory is Linux's to tell")


def test_memory_that_was_given_back_stays_in_the_peak() -> None:
    before = memory.resident_bytes()
    block = b"x" * 64_000_000
    assert memory.resident_bytes() - before > 50_000_000
    del block
    assert memory.peak_resident_bytes() - before > 50_000_000
