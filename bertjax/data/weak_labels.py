"""Labels from rules: rows -> votes -> probabilities of classes -> weak labels.

A rule is a function of a row. It returns a class, or None (or -1) to abstain. N rows, K rules, C
classes; the votes [N, K] are class indices, -1 where a rule abstains.

Ratner et al. 2017, "Snorkel: Rapid Training Data Creation with Weak Supervision".
"""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bertjax.data.labels import quoted
from bertjax.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

ABSTAIN = -1
MIN_RULES = 3  # with which the label model can tell rules apart: it needs three that vote

Rule = Callable[["pd.Series"], Any]

_TIE = 1e-5  # probabilities as near as that are equal, as Snorkel has it
_LETTERS = 60  # of a value that is shown
_MEND = "a rule returns the name of a class, or None to abstain"


class Fault(NamedTuple):
    """What a rule raised instead of voting."""

    count: int  # of rows
    row: int  # the first, counted from 0
    error: Exception  # on that row


class Votes(NamedTuple):
    """What rules say of rows."""

    matrix: np.ndarray  # [N, K] int
    classes: tuple[str, ...]  # the C that were voted for, sorted
    faults: dict[str, Fault]  # by rule; a rule that raised abstains
    unused: tuple[str, ...]  # classes that were declared, and that no rule voted for


class LabelModel(NamedTuple):
    """How far each rule is to be trusted, and what follows from that."""

    probabilities: Callable[[np.ndarray], np.ndarray]  # votes [N, K] -> [N, C]
    weights: np.ndarray  # [K], from 0 to 1: how often a vote is right; NaN without a vote


class Statistics(NamedTuple):
    """Shares of the rows [K], by rule."""

    coverage: np.ndarray  # on which it votes
    overlaps: np.ndarray  # and another does
    conflicts: np.ndarray  # and another votes for another class


def apply_rules(
    rules: Mapping[str, Rule],
    rows: "Iterable[pd.Series]",
    classes: Sequence[str] | None = None,
) -> Votes:
    """Ask every rule about every row.

    Args:
        rules: by their names.
        classes: what rules may vote for, by name or by index here; None: any name.

    Raises:
        UserError: a rule returned something else.
    """
    known = None if classes is None else {name: i for i, name in enumerate(classes)}
    names: dict[str, int] = {} if known is None else known
    faults: dict[str, Fault] = {}
    found = []
    for number, row in enumerate(rows):
        found.append(votes := [ABSTAIN] * len(rules))
        for k, (name, rule) in enumerate(rules.items()):
            try:
                returned = rule(row)
            except Exception as error:
                first = faults.get(name, Fault(0, number, error))
                faults[name] = first._replace(count=first.count + 1)
                continue
            votes[k] = _vote(returned, names, known is None, name, number)
    matrix = np.array(found, int).reshape(len(found), len(rules))
    return _renumbered(matrix, tuple(names), faults)


def _vote(returned: Any, names: dict[str, int], learn: bool, rule: str, row: int) -> int:
    """The index of a class, or ABSTAIN; with `learn` a new name is a new class."""
    number = isinstance(returned, int | np.integer) and not isinstance(returned, bool)
    if returned is None or (number and returned == ABSTAIN):
        return ABSTAIN
    if isinstance(returned, str):
        if learn and returned.strip():
            return names.setdefault(str(returned), len(names))
        if returned in names:
            return names[returned]
    elif number and not learn and 0 <= returned < len(names):
        return int(returned)
    shown = " ".join(repr(returned).split())[:_LETTERS]
    what = f"{rule} returned {shown} for row {row}"
    if not learn:
        raise UserError(f"{what}, but CLASSES are {quoted(names)}: return one, or None to abstain")
    if number:
        raise UserError(f"{what}: a rule that returns numbers needs CLASSES = [...] in its file")
    raise UserError(f"{what}: {_MEND}")


def _renumbered(matrix: np.ndarray, names: tuple[str, ...], faults: dict[str, Fault]) -> Votes:
    """With the classes that were voted for alone, in the order of their names."""
    present = sorted((names[i], i) for i in np.unique(matrix).tolist() if i != ABSTAIN)
    classes = tuple(name for name, _ in present)
    renumber = np.full(len(names) + 1, ABSTAIN)  # of which the last, -1, stays
    for new, (_, old) in enumerate(present):
        renumber[old] = new
    unused = tuple(name for name in names if name not in classes)
    return Votes(renumber[matrix], classes, faults, unused)


def check_classes(votes: Votes) -> None:
    """Raise a UserError if the rules tell no classes apart."""
    rows = "1 row" if len(votes.matrix) == 1 else f"{len(votes.matrix)} rows"
    if not votes.classes:
        raise UserError(f"no rule votes on any of {rows}: widen the rules")
    if len(votes.classes) < 2:
        raise UserError(
            f"in {rows} the rules vote for {quoted(votes.classes)} alone: a model learns to tell "
            "classes apart, so add rules or rows for another"
        )


def rule_statistics(votes: np.ndarray) -> Statistics:
    """What is to be known of rules without a true label; votes [N, K], N > 0."""
    voted = votes != ABSTAIN
    several = voted.sum(axis=1) > 1
    lowest = np.where(voted, votes, votes.max()).min(axis=1)
    differing = several & (lowest != votes.max(axis=1))
    return Statistics(
        coverage=voted.mean(axis=0),
        overlaps=(voted & several[:, None]).mean(axis=0),
        conflicts=(voted & differing[:, None]).mean(axis=0),
    )


def rule_accuracies(votes: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Share of each rule's votes that are right [K]; NaN where it has no vote to be compared.

    Args:
        votes: [N, K].
        targets: true classes [N] int, -1 where none is known; C or more: one without a rule.
    """
    compared = (votes != ABSTAIN) & (targets >= 0)[:, None]
    right = (compared & (votes == targets[:, None])).sum(axis=0)
    count = compared.sum(axis=0)
    return np.where(count > 0, right / np.maximum(count, 1), np.nan)


def majority_vote(votes: np.ndarray, classes: int) -> np.ndarray:
    """Each class's share of the votes on a row; votes [N, K] -> [N, C], 1 / C without a vote."""
    counts = np.stack([(votes == c).sum(axis=1) for c in range(classes)], axis=1)
    total = counts.sum(axis=1, keepdims=True)
    return np.where(total > 0, counts / np.maximum(total, 1), 1 / classes)


def fit_label_model(votes: np.ndarray, classes: int, seed: int = 0) -> LabelModel:
    """Learn from agreements and conflicts how far each rule can be trusted: Snorkel's LabelModel.

    With Snorkel's own settings; rules that never vote are left out. The same votes and seed give
    the same model. Snorkel seeds torch with it, too.

    Args:
        votes: [N, K], of which MIN_RULES rules vote.
        classes: C.

    Raises:
        UserError: it does not converge.
        ModuleNotFoundError: snorkel is not installed.
    """
    from snorkel.labeling.model import (  # pyright: ignore[reportMissingImports]
        LabelModel as Snorkel,
    )

    voting = (votes != ABSTAIN).any(axis=0)
    model = Snorkel(cardinality=classes, verbose=False)
    try:
        with _kept_random_state():
            model.fit(votes[:, voting], seed=seed, progress_bar=False)
    except Exception as error:
        if "NaN" not in str(error):
            raise
        raise UserError(
            f"the label model of {voting.sum()} rules does not converge: pass --combine majority"
        ) from error
    weights = np.full(len(voting), np.nan)
    weights[voting] = model.get_weights()
    return LabelModel(lambda other: np.asarray(model.predict_proba(other[:, voting])), weights)


@contextmanager
def _kept_random_state() -> Iterator[None]:
    """Snorkel seeds the generators that the whole process shares."""
    state, numpy_state = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(state)
        np.random.set_state(numpy_state)


def weak_labels(votes: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The most probable class of each row [N] int: -1 where no rule votes, or where several tie."""
    ordered = np.sort(probabilities, axis=1)
    decided = (votes != ABSTAIN).any(axis=1) & (ordered[:, -1] - ordered[:, -2] > _TIE)
    return np.where(decided, probabilities.argmax(axis=1), ABSTAIN)
