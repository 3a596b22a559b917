import re

import pytest
from pydantic_core import PydanticCustomError

from bertjax.serving.blank import READ, check_read


def test_nothing_is_refused_that_the_tokenizer_reads(checkpoint):
    blank = [
        character
        for character in map(chr, range(0x10000))
        if not "\ud800" <= character <= "\udfff" and not re.search(READ, character)
    ]
    assert {"\x00", " ", "\n", "\xa0", "\xad", "\u200b", "\u202e", "\ufeff"} <= set(blank)
    ids = checkpoint.tokenizer(blank)["input_ids"]
    assert {len(found) for found in ids} == {2}  # [CLS] and [SEP]


def test_one_character_is_enough():
    assert check_read(" \x00a") == " \x00a"
    with pytest.raises(PydanticCustomError, match="Text should have at least 1 character that"):
        check_read(" \x00", "Text")
