"""Counts and texts for people."""

from bertjax.workflows.wording import folded, plural, short


def test_counts_have_their_nouns():
    assert [plural(n, "copy", "copies") for n in (0, 1, 2000)] == [
        "no copies",
        "1 copy",
        "2,000 copies",
    ]


def test_a_long_text_ends_in_dots_on_one_line():
    assert short("a\nb  c", 5) == "a b c"
    assert short("abcdef", 5) == "abcd…"


def test_a_long_name_keeps_both_ends():
    assert folded("a\nb", 5) == "a b"
    assert folded("abcdefgh", 5) == "ab…gh"
