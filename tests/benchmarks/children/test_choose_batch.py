import pytest

from benchmarks.children import choose_batch


def test_a_batching_counts_by_the_better_of_two_turns_after_it_was_tried(monkeypatch) -> None:
    """What a library prepares for what it has not seen says nothing of how fast it is."""
    clock, seen, order = 0.0, set(), []
    usual = {(16, 1): 3.0, (16, 2): 1.0, (32, 1): 2.0, (32, 2): 4.0}

    class Classifier:
        def __init__(self, streams: int) -> None:
            self.streams = streams

        def probabilities(self, texts, size: int) -> None:
            nonlocal clock
            batching = size, self.streams
            clock += usual[batching] + (0.0 if batching in seen else 100.0)
            order.append(batching)
            seen.add(batching)

    monkeypatch.setattr(choose_batch.time, "perf_counter", lambda: clock)
    classifiers = {streams: Classifier(streams) for streams in (1, 2)}
    found = choose_batch.seconds_by_batching(classifiers, ["a"], [16, 32])  # pyright: ignore[reportArgumentType]
    assert found == pytest.approx(usual)
    assert order == [*usual, *usual, *reversed(usual)]
