from pathlib import Path

from benchmarks.children import classify_texts
from benchmarks.shapes import Shape


def test_the_fastest_size_of_batches_is_taken(monkeypatch) -> None:
    clock = 0.0

    class Classifier:
        def probabilities(self, texts, size: int) -> None:
            nonlocal clock
            clock += {16: 3.0, 32: 1.0, 64: 2.0}[size]

    monkeypatch.setattr(classify_texts.time, "perf_counter", lambda: clock)
    assert classify_texts.fastest_size(Classifier(), ["a"], [16, 32, 64]) == 32  # pyright: ignore[reportArgumentType]


def test_the_arithmetic_is_of_real_tokens(packaged_folder: Path) -> None:
    """`[CLS] the [SEP]` and `[CLS] the the [SEP]`."""
    for engine, first_only in (("torch", False), ("bertjax", True)):
        found = classify_texts.arithmetic(packaged_folder, ["the", "the the"], engine)
        assert found["tokens"] == 7
        lengths = (Shape("minilm", 1, length).forward_flops(first_only) for length in (3, 4))
        assert found["flops"] == sum(lengths)
