"""What became of behavioural tests: texts are changed, predicted and judged.

C classes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from bertjax.errors import UserError
from bertjax.evaluation.behaviour import Direction, Invariance, Minimum, Test

EXAMPLES = 5  # failed cases that an outcome keeps

Probabilities = Callable[[list[str]], np.ndarray]  # M texts -> [M, C]


class Case(NamedTuple):
    """A text and what was predicted; `changed` is None where nothing was changed."""

    text: str
    changed: str | None
    was: tuple[str, float]  # a class and its probability; of a Minimum the one that was expected
    became: tuple[str, float]


@dataclass(frozen=True)
class Outcome:
    """What became of a test."""

    name: str
    kind: str  # invariance, direction or minimum
    must: str  # hold
    cases: int
    failed: int
    raised: int  # texts on which the change raised an error: no cases
    error: str  # the first of these, in one line
    examples: tuple[Case, ...]  # failed ones, the worst first


def run_tests(
    tests: Mapping[str, Test],
    probabilities: Probabilities,
    labels: Sequence[str],
    rows: Sequence[str] = (),
) -> list[Outcome]:
    """The outcome of each test, by its name; every text is predicted once, all in one call.

    Args:
        labels: the C classes.
        rows: texts for tests that have none of their own.

    Raises:
        UserError: a test names a class that is not among the labels.
    """
    check_labels(tests, labels)
    gathered = {name: _cases(test, rows) for name, test in tests.items()}
    texts = [text for pairs, _ in gathered.values() for pair in pairs for text in pair]
    unique = [text for text in dict.fromkeys(texts) if text is not None]
    values = np.asarray(probabilities(unique)) if unique else np.zeros((0, len(labels)))
    known = dict(zip(unique, values, strict=True))
    return [
        _outcome(name, test, *gathered[name], known, list(labels)) for name, test in tests.items()
    ]


def check_labels(tests: Mapping[str, Test], labels: Sequence[str]) -> None:
    """Raise a UserError if a test names a class that is not among the labels."""
    for name, test in tests.items():
        if not isinstance(test, Invariance) and test.label not in labels:
            raise UserError(
                f"the behavioural test {name} is about the class {test.label!r}, which the model "
                f"does not have: it has {', '.join(labels)}"
            )


_Pair = tuple[str, str | None]


def _cases(test: Test, rows: Sequence[str]) -> tuple[list[_Pair], list[str]]:
    """(texts with what they were changed to, the errors that the change raised)."""
    if isinstance(test, Minimum):
        return [(text, None) for text in test.texts], []
    pairs: list[_Pair] = []
    errors = []
    for text in test.texts or rows:
        try:
            several = _several(test.change(text))
        except Exception as error:  # whatever the user's function does with this text
            errors.append(f"{type(error).__name__}: {' '.join(str(error).split())}")
        else:
            pairs += [(text, one) for one in several if one != text]
    return pairs, errors


def _several(changed: Any) -> list[str]:
    """What a user's function has given, as a list; TypeError if it is no text and none of these."""
    if changed is None:
        return []
    alone = isinstance(changed, str) or not isinstance(changed, Iterable)
    found: list[Any] = [changed] if alone else list(changed)
    for one in found:
        if not isinstance(one, str):
            raise TypeError(f"it gave {one!r}, expected a text")
    return found


def _outcome(
    name: str,
    test: Test,
    pairs: Sequence[_Pair],
    errors: Sequence[str],
    known: Mapping[str, np.ndarray],
    labels: list[str],
) -> Outcome:
    judge, must = _judge(test, labels)
    failed = []
    for text, changed in pairs:
        before = known[text]
        after = before if changed is None else known[changed]
        badly, old, new = judge(before, after)
        if badly > 0:
            was, became = (labels[old], float(before[old])), (labels[new], float(after[new]))
            failed.append((badly, Case(text, changed, was, became)))
    failed.sort(key=lambda found: -found[0])
    examples = tuple(case for _, case in failed[:EXAMPLES])
    kind, first = type(test).__name__.lower(), errors[0] if errors else ""
    return Outcome(name, kind, must, len(pairs), len(failed), len(errors), first, examples)


# Probabilities [C] before and after -> (how badly it failed, 0 if not; a class before, one after).
_Judge = Callable[[np.ndarray, np.ndarray], tuple[float, int, int]]


def _judge(test: Test, labels: list[str]) -> tuple[_Judge, str]:
    """How a case of the test is judged, and what must hold, in words."""
    match test:
        case Invariance():
            return _same, "the prediction stays"
        case Minimum():
            number = labels.index(test.label)
            return lambda before, _: _is(before, number), f"the prediction is {test.label}"
        case Direction():
            number, sign = labels.index(test.label), 1 if test.rises else -1

            def moves(before: np.ndarray, after: np.ndarray) -> tuple[float, int, int]:
                wrong = sign * float(before[number] - after[number]) - test.tolerance
                return max(wrong, 0.0), number, number

            room = f" by more than {test.tolerance:g}" if test.tolerance else ""
            way = "fall" if test.rises else "rise"
            return moves, f"{test.label} does not {way}{room}"


def _same(before: np.ndarray, after: np.ndarray) -> tuple[float, int, int]:
    old, new = int(before.argmax()), int(after.argmax())
    return float(after[new]) if old != new else 0.0, old, new


def _is(values: np.ndarray, number: int) -> tuple[float, int, int]:
    found = int(values.argmax())
    return float(values[found]) if found != number else 0.0, number, found
