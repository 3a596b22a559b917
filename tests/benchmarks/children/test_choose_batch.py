import pytest

from benchmarks.children import choose_batch


def test_a_size_counts_by_the_better_of_two_turns_after_it_was_tried(monkeypatch) -> None:
    """What a library prepares for a size that it has not seen says nothing of that size."""
    clock, seen, usual = 0.0, set(), {16: 3.0, 32: 1.0, 64: 2.0}

    class Classifier:
        def probabilities(self, texts, size: int) -> None:
            nonlocal clock
            clock += usual[size] + (0.0 if size in seen else 100.0)
            order.append(size)
            seen.add(size)

    order = [0]
    monkeypatch.setattr(choose_batch.time, "perf_counter", lambda: clock)
    found = choose_batch.seconds_by_size(Classifier(), ["a"], [16, 32, 64])  # pyright: ignore[reportArgumentType]
    assert found == pytest.approx(usual)
    assert order[1:] == [16, 32, 64, 16, 32, 64, 64, 32, 16]
