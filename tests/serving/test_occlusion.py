from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjax.evaluation.importance import Word
from bertjax.models.configs import BertConfig
from bertjax.serving.occlusion import occlusions, passes_within_budget, words_read
from bertjax.serving.predictor import Predictor


def words_of(text: str) -> list[Word]:
    words, end = [], 0
    for part in text.split():
        start = text.index(part, end)
        end = start + len(part)
        words.append(Word(part, start, end, 0.0))
    return words


def test_each_word_is_left_out_in_turn():
    text = "a  big\tcat"
    words, without, size = occlusions(text, words_of(text), 10)
    assert [(word.text, word.start, word.end) for word in words] == [
        ("a", 0, 1),
        ("big", 3, 6),
        ("cat", 7, 10),
    ]
    assert without == ["  big\tcat", "a  \tcat", "a  big\t"]
    assert size == 1


def test_words_of_a_long_text_are_left_out_in_groups():
    text = "one two three four five"
    words, without, size = occlusions(text, words_of(text), 2)
    assert [word.text for word in words] == ["one two three", "four five"]
    assert without == [" four five", "one two three "]
    assert size == 3


def test_what_is_not_read_never_takes_the_place_of_a_word():
    text = "one two three four"
    words, without, _ = occlusions(text, words_of(text)[:2], 5)
    assert [word.text for word in words] == ["one", "two"]
    assert without == [" two", "one "]


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_a_text_without_words_has_nothing_to_leave_out(text):
    assert occlusions(text, words_of(text), 5) == ([], [], 1)


@given(st.text(), st.integers(1, 9))
def test_groups_are_few_and_hold_all_words(text, most):
    words, without, size = occlusions(text, words_of(text), most)
    assert len(words) == len(without) <= most
    assert " ".join(word.text for word in words).split() == text.split()
    for word in words:
        assert text[word.start : word.end] == word.text
        assert len(word.text.split()) <= size


def test_a_word_is_read_if_some_of_it_is(checkpoint):
    predictor = Predictor(replace(checkpoint, run=replace(checkpoint.run, max_length=6)))
    for text, expected in (
        ("cat  dog", ["cat", "dog"]),
        ("cat dog bank tax rain snow", ["cat", "dog", "bank", "tax"]),
        ("cat dog bank, rain", ["cat", "dog", "bank,"]),
        ("cat dog bank ,;: rain", ["cat", "dog", "bank", ",;:"]),
        (" ", []),
    ):
        assert [word.text for word in words_read(predictor, text)] == expected
    windows = Predictor(predictor.checkpoint, long_texts="windows")
    assert len(words_read(windows, "cat dog bank tax rain snow")) == 6


def test_words_that_cleaning_drops_are_not_read(checkpoint):
    run = replace(checkpoint.run, max_length=5, clean=True)
    text = "The cat, and https://a.b the Dog's bank: not rain"
    found = words_read(Predictor(replace(checkpoint, run=run)), text)
    assert [word.text for word in found] == ["cat,", "Dog's", "bank:"]
    assert [text[word.start : word.end] for word in found] == ["cat,", "Dog's", "bank:"]


def test_long_texts_and_large_models_are_read_fewer_times():
    small = BertConfig(hidden_size=384, num_hidden_layers=6)
    base = BertConfig(hidden_size=768, num_hidden_layers=12)
    assert passes_within_budget(30, small) == passes_within_budget(256, small) == 64
    assert 30 <= passes_within_budget(512, small) < 64
    assert passes_within_budget(40, base) > 50
    assert passes_within_budget(512, base) == passes_within_budget(10**6, base) == 8
    assert passes_within_budget(0, base) == 64
