from pathlib import Path

from benchmarks.children import classify_texts
from benchmarks.shapes import Shape


def test_the_arithmetic_is_of_real_tokens(packaged_folder: Path) -> None:
    """`[CLS] the [SEP]` and `[CLS] the the [SEP]`."""
    for engine, first_only in (("torch", False), ("bertjax", True)):
        found = classify_texts.arithmetic(packaged_folder, ["the", "the the"], engine)
        assert found["tokens"] == 7
        lengths = (Shape("minilm", 1, length).forward_flops(first_only) for length in (3, 4))
        assert found["flops"] == sum(lengths)
