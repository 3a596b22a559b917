import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjax.serving.occlusion import occlusions


def test_each_word_is_left_out_in_turn():
    words, without = occlusions("a  big\tcat", 10)
    assert [(word.text, word.start, word.end) for word in words] == [
        ("a", 0, 1),
        ("big", 3, 6),
        ("cat", 7, 10),
    ]
    assert without == ["  big\tcat", "a  \tcat", "a  big\t"]


def test_words_of_a_long_text_are_left_out_in_groups():
    words, without = occlusions("one two three four five", 2)
    assert [word.text for word in words] == ["one two three", "four five"]
    assert without == [" four five", "one two three "]


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_a_text_without_words_has_nothing_to_leave_out(text):
    assert occlusions(text, 5) == ([], [])


@given(st.text(), st.integers(1, 9))
def test_groups_are_few_and_hold_all_words(text, most):
    words, without = occlusions(text, most)
    assert len(words) == len(without) <= most
    assert " ".join(word.text for word in words).split() == text.split()
    for word in words:
        assert text[word.start : word.end] == word.text
