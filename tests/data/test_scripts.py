"""In which scripts texts are written."""

import pytest

from bertjax.data.scripts import NO_LETTERS, main_script, script_counts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("BERT and friends", "Latin"),
        ("машинное обучение", "Cyrillic"),
        ("人工智能", "Han"),
        ("ひらがな", "Hiragana"),
        ("شبكات عصبية", "Arabic"),
        ("यंत्र अधिगम", "Devanagari"),
        ("한국어", "Hangul"),
        ("GPT для чайников", "Cyrillic"),  # most letters
        ("12 + 30 = 42 🎉", NO_LETTERS),
        ("", NO_LETTERS),
    ],
)
def test_the_script_of_most_letters(text, expected):
    assert main_script(text) == expected


def test_counts_leave_empty_texts_out():
    texts = ["a", "b", "", " ", "я", "7"]
    assert script_counts(texts) == {"Latin": 2, "Cyrillic": 1, NO_LETTERS: 1}
    assert list(script_counts(["я", "я", "a"])) == ["Cyrillic", "Latin"]
