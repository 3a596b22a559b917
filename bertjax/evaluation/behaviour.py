"""Behavioural tests of a text classifier, as in CheckList (Ribeiro et al. 2020).

A test says what must hold of the predictions of texts. A file of such tests is a few lines:

    from bertjax.evaluation.behaviour import Direction, Invariance, Minimum, fill

    clouds = Invariance(lambda text: text.replace("AWS", "Azure"))
    images = Direction("computer-vision", lambda text: text + " It segments images.")
    plain = Minimum("computer-vision", fill("{} {}", ["Detect", "Count"], ["cars", "faces"]))
"""

import random
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from zlib import crc32

# One changed text, several, or None where there is nothing to change.
Change = Callable[[str], str | Iterable[str] | None]


def _check(texts: Sequence[str], change: Change | None) -> None:
    """TypeError if a user has given something else."""
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise TypeError(f"texts is {texts!r}, expected a list of texts")
    if change is not None and not callable(change):
        raise TypeError(f"change is {change!r}, expected a function of a text")


@dataclass(frozen=True)
class Invariance:
    """A change to a text that must not change its prediction.

    Args:
        change: a text -> a changed one, several, or None.
        texts: what is changed; by default rows of the table.
    """

    change: Change
    texts: Sequence[str] = ()

    def __post_init__(self) -> None:
        _check(self.texts, self.change)


@dataclass(frozen=True)
class Direction:
    """A change to a text that must not lower, or must not raise, the probability of a class.

    Args:
        label: the class.
        change, texts: as of `Invariance`.
        rises: whether the probability must not fall; else it must not rise.
        tolerance: by how much it may do so all the same, in probability.
    """

    label: str
    change: Change
    texts: Sequence[str] = ()
    rises: bool = True
    tolerance: float = 0.01

    def __post_init__(self) -> None:
        _check(self.texts, self.change)


@dataclass(frozen=True)
class Minimum:
    """Simple texts of a class, which must be predicted (a minimum functionality test)."""

    label: str
    texts: Sequence[str]

    def __post_init__(self) -> None:
        _check(self.texts, None)
        if not self.texts:
            raise ValueError("a Minimum needs texts")


Test = Invariance | Direction | Minimum


def fill(pattern: str, *words: Sequence[str]) -> tuple[str, ...]:
    """Every text that the pattern makes with a word in each of its {}."""
    return tuple(pattern.format(*chosen) for chosen in product(*words))


def swap_letters(text: str, seed: int = 0) -> str | None:
    """A typo: two neighbouring letters within one word change places; always the same in a text."""
    chance = random.Random(crc32(text.encode("utf-8", "replace")) + seed)
    places = [
        i
        for i in range(1, len(text) - 2)
        if text[i - 1 : i + 3].isalpha() and text[i] != text[i + 1]
    ]
    if not places:
        return None
    i = chance.choice(places)
    return text[:i] + text[i + 1] + text[i] + text[i + 2 :]


def _toggle_full_stop(text: str) -> str:
    return text.rstrip(string.punctuation + " ") if text.rstrip().endswith(".") else f"{text}."


BUILT_IN: Mapping[str, Test] = {
    "lower case": Invariance(str.lower),
    "capital letters": Invariance(str.upper),
    "full stop at the end, or none": Invariance(_toggle_full_stop),
    "two spaces for one": Invariance(lambda text: text.replace(" ", "  ")),
    "a typo": Invariance(swap_letters),
}
