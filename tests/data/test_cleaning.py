import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjax.data.cleaning import STOP_WORDS, clean_text, clean_texts


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Don't miss https://a.b/c?d=e: BERT's 2nd talk!", "miss bert 2nd talk"),
        ("Show, Infer & Tell", "show infer tell"),
        ("see www.example.org/x.", "see"),
        ("isn\u2019t it GREAT", "great"),  # the typographic apostrophe
        ("snake_case  \t\n x2", "snake case x2"),
        ("rock'n'roll", "rock n roll"),
        ("x''y''s", "x y"),
        ("the of and", ""),
        ("", ""),
        ("👍🏽️ !!! ''", ""),
        ("Ünïcode 漢字 हिन्दी ПРИВЕТ", "ünïcode 漢字 हिन्दी привет"),
    ],
)
def test_clean_text(text, cleaned):
    assert clean_text(text) == cleaned


@given(st.text())
def test_cleaned_text_is_folded_and_free_of_punctuation(text):
    cleaned = clean_text(text)
    assert cleaned == " ".join(cleaned.split())
    assert not set(cleaned) & set("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~\n\t")


def test_stop_words_are_written_as_they_are_looked_up():
    assert all(word == word.lower().strip("'") for word in STOP_WORDS)


def test_stems_are_taken_only_on_request():
    texts = ["Running models", "relational ponies"]
    assert clean_texts(texts) == ["running models", "relational ponies"]
    assert clean_texts(texts, stem=True) == ["run model", "relat poni"]
