from dataclasses import asdict

import pytest

from benchmarks.shapes import SIZES, Shape, Size
from bertjax.errors import UserError


def test_a_name_is_read_and_written() -> None:
    shape = Shape.parse("base-8x128")
    assert shape == Shape("base", 8, 128)
    assert str(shape) == "base-8x128"


@pytest.mark.parametrize("name", ["base", "huge-8x128", "base-8", "base-x128", "base-8x-1", ""])
def test_another_name_is_a_mistake(name: str) -> None:
    with pytest.raises(UserError, match="is no shape: write MODEL-TEXTSxTOKENS"):
        Shape.parse(name)


@pytest.mark.parametrize("name", ["tiny-0x8", "tiny-2x0", "tiny-2x1024"])
def test_a_batch_of_nothing_or_of_longer_texts_is_a_mistake(name: str) -> None:
    assert Shape.parse("tiny-1x512").length == 512
    with pytest.raises(UserError, match="write 1 text or more, of 1 to 512 tokens"):
        Shape.parse(name)


def test_a_child_gets_the_sizes_under_the_names_of_a_config() -> None:
    settings = Shape("minilm", 2, 8).settings()
    assert (settings["texts"], settings["length"]) == (2, 8)
    assert settings["sizes"]["hidden_size"] == 384
    assert settings["sizes"]["vocab_size"] == 30522


def test_the_products_of_a_layer_are_counted() -> None:
    """Width 32, inner 64, two layers: 4 w w + 2 w i weights, and scores and sums of 8 keys."""
    assert SIZES["tiny"].intermediate_size == 64
    of_a_token = 2 * (4 * 32 * 32 + 2 * 32 * 64 + 2 * 8 * 32)
    assert Shape("tiny", 2, 8).forward_flops() == 2 * 16 * of_a_token


def test_a_last_layer_for_first_tokens_is_keys_and_values_and_one_token() -> None:
    of_a_token = 2 * (4 * 32 * 32 + 2 * 32 * 64 + 2 * 8 * 32)
    keys = 2 * 2 * 32 * 32
    expected = 16 * (of_a_token + keys) + 2 * (of_a_token - keys)
    assert Shape("tiny", 2, 8).forward_flops(first_only=True) == expected


def test_texts_of_several_lengths_are_each_counted_by_themselves() -> None:
    tiny = SIZES["tiny"]
    one_by_one = sum(Shape("tiny", 1, length).forward_flops() for length in (3, 8, 8))
    assert tiny.forward_flops([3, 8, 8]) == one_by_one
    assert tiny.forward_flops([11, 8]) > one_by_one  # longer texts, more attention


def test_sizes_are_read_from_a_config() -> None:
    config = asdict(SIZES["minilm"]) | {"hidden_act": "gelu"}
    assert Size.of(config) == SIZES["minilm"]
