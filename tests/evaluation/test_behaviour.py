import pytest

from bertjax.evaluation.behaviour import (
    BUILT_IN,
    Direction,
    Invariance,
    Minimum,
    fill,
    swap_letters,
)


def test_a_pattern_is_filled_with_every_choice():
    assert fill("{} a {}", ["Find", "Count"], ["car", "cat"]) == (
        "Find a car",
        "Find a cat",
        "Count a car",
        "Count a cat",
    )


def test_a_typo_swaps_two_letters_within_a_word():
    text = "Graph networks"
    typo = swap_letters(text)
    assert typo == swap_letters(text)
    assert typo != text
    assert sorted(typo) == sorted(text)
    assert typo[0] == "G"
    assert typo[5] == " "
    assert sum(a != b for a, b in zip(text, typo, strict=True)) == 2
    assert len({swap_letters(text, seed) for seed in range(9)}) > 2


@pytest.mark.parametrize("text", ["", "a cat", "1234", "aaaa"])
def test_there_is_no_typo_where_no_letters_can_be_swapped(text):
    assert swap_letters(text) is None


def test_built_in_changes_are_what_they_say():
    text = "Two words."
    changed = {name: test.change(text) for name, test in BUILT_IN.items()}
    assert changed.pop("a typo") != text
    assert changed == {
        "lower case": "two words.",
        "capital letters": "TWO WORDS.",
        "full stop at the end, or none": "Two words",
        "two spaces for one": "Two  words.",
    }
    assert BUILT_IN["full stop at the end, or none"].change("Two") == "Two."


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Invariance("lower"), "change is 'lower', expected a function of a text"),
        (lambda: Direction("a", str.lower, "text"), "texts is 'text', expected a list of texts"),
        (lambda: Minimum("a", [1]), r"texts is \[1\], expected a list of texts"),
        (lambda: Minimum("a", []), "a Minimum needs texts"),
    ],
)
def test_what_is_no_test_is_refused(make, says):
    with pytest.raises((TypeError, ValueError), match=says):
        make()
