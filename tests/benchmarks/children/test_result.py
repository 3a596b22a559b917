import pytest

from benchmarks.children import result


@pytest.mark.parametrize(
    ("times", "epoch_s"),
    [
        ([10.0, 15.0], 5.0),  # the only epoch counts, although it compiled
        ([10.0, 15.0, 17.0, 20.0], 2.5),
    ],
)
def test_the_clock_tells_a_later_epoch(
    times: list[float], epoch_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(times)
    monkeypatch.setattr(result.time, "perf_counter", lambda: next(ticks))
    clock = result.Clock()
    clock.start()
    for _ in times[1:]:
        clock.epoch()
    assert clock.figures() == {"epoch_s": epoch_s}
