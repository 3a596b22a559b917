from contextlib import suppress

from bertjax.training import stopwatch
from bertjax.training.stopwatch import Stopwatch


def test_stretches_add_up_and_an_error_ends_one(monkeypatch):
    now = [10.0]
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: now[0])
    watch = Stopwatch()
    assert watch.seconds == 0
    with watch:
        now[0] += 2
    now[0] += 100
    with suppress(ZeroDivisionError), watch:
        now[0] += 3
        raise ZeroDivisionError
    assert watch.seconds == 5
