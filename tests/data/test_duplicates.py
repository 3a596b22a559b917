"""Texts that say the same: what counts as the same, and as nearly the same."""

import random

import pytest

from bertjax.data.duplicates import exact_groups, near_groups, normalise

SENTENCE = "a small convolutional network that finds tumours in scans of lungs, trained on weekends"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Hello,   WORLD! ", "hello world"),
        ("\uff22\uff25\uff32\uff34—based", "bert based"),
        ("STRASSE straße", "strasse strasse"),
        ("???", "???"),  # nothing but punctuation is a text too
        (" \n ", ""),
        ("🦀 crab", "🦀 crab"),
    ],
)
def test_case_width_punctuation_and_spaces_tell_no_texts_apart(text, expected):
    assert normalise(text) == expected


def test_equal_texts_are_grouped_in_the_order_of_their_rows():
    texts = ["b", "a cat", "x", "A cat!", "B", "", "", "a  cat"]
    assert exact_groups(texts) == [[0, 4], [1, 3, 7]]


def test_a_changed_word_makes_a_near_duplicate_and_another_sentence_none():
    texts = [
        SENTENCE,
        "an entirely different sentence on the price of bread in small towns of the north",
        SENTENCE.replace("tumours", "tumors"),
        SENTENCE.upper(),
    ]
    assert near_groups(texts) == [[0, 2, 3]]
    assert near_groups([SENTENCE, SENTENCE.upper()]) == []  # equal, so not nearly so


def test_the_threshold_is_exact():
    # Runs of five letters: 10 and 11, of which 10 are shared: 10 / 11.
    texts = ["abcdefghijklmn", "abcdefghijklmno"]
    assert near_groups(texts, 0.9) == [[0, 1]]
    assert near_groups(texts, 0.92) == []


def test_a_group_is_linked_by_pairs():
    words = [f"word{number}" for number in range(40)]
    chain = [" ".join(["x"] * n + words[n:]) for n in range(0, 12, 3)]
    assert near_groups(chain, 0.8) == [[0, 1, 2, 3]]


@pytest.mark.parametrize("text", ["", "a", "\ud800", "кот", "word " * 30_000])
def test_any_text_is_taken(text):
    assert near_groups([text, "something else entirely"]) == []


def test_every_planted_pair_is_found():
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(500)]
    texts = [" ".join(rng.choices(words, k=30)) for _ in range(300)]
    planted = [text.replace(text.split()[7], "changed", 1) for text in texts[:40]]
    assert near_groups([*texts, *planted], 0.8) == [[i, 300 + i] for i in range(40)]


def test_a_template_that_fills_a_table_is_one_group():
    texts = [
        f"your order number {n:03d} was shipped today and will be with you soon" for n in range(300)
    ]
    assert near_groups(texts, 0.6) == [list(range(300))]
