"""What `bertjax label` finds out about rules, as plain values and as a table to be printed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bertjax.data.labels import quoted
from bertjax.data.sources import text_of
from bertjax.data.weak_labels import (
    ABSTAIN,
    Votes,
    majority_vote,
    rule_accuracies,
    rule_statistics,
    weak_labels,
)
from bertjax.errors import UserError
from bertjax.evaluation.scores import classification_scores, scores_table
from bertjax.workflows.user_code import one_line

if TYPE_CHECKING:
    import pandas as pd

Facts = dict[str, Any]

_WIDTH = 40  # of a name


class Gold(NamedTuple):
    """True classes of some rows."""

    column: str
    targets: np.ndarray  # [N] int, -1 where none is known
    classes: tuple[str, ...]  # those of the rules, then those that no rule votes for

    @classmethod
    def of(cls, frame: "pd.DataFrame", column: str, classes: tuple[str, ...], data: str) -> "Gold":
        """Those of a column.

        Raises:
            UserError: none of them is a class of the rules.
        """
        cells = text_of(frame, [column], data)
        found = set(filter(None, cells))
        if not found & set(classes):
            raise UserError(
                f"{data}: no label of the column {column!r} is a class of the rules: they vote for "
                f"{quoted(classes)}, and there is {quoted(sorted(found)) or 'nothing'}"
            )
        names = (*classes, *sorted(found - set(classes)))
        index = {name: i for i, name in enumerate(names)}
        return cls(column, np.array([index.get(cell, ABSTAIN) for cell in cells]), names)


def describe_rules(
    names: Sequence[str], votes: Votes, weights: np.ndarray | None, gold: Gold | None
) -> list[Facts]:
    """A record a rule: its classes, shares of the rows, faults, and how good it is.

    `weight` is how often the label model takes its votes for right, `accuracy` how often those that
    can be compared with `gold` are; None where that is not known.
    """
    statistics = rule_statistics(votes.matrix)
    accuracies = None if gold is None else rule_accuracies(votes.matrix, gold.targets)
    found = []
    for k, name in enumerate(names):
        voted = np.unique(votes.matrix[:, k])
        fault = votes.faults.get(name)
        found.append(
            {
                "name": name,
                "classes": [votes.classes[c] for c in voted.tolist() if c != ABSTAIN],
                **{key: float(values[k]) for key, values in statistics._asdict().items()},
                "faults": fault.count if fault else 0,
                "first_fault": fault and {"row": fault.row, "error": one_line(fault.error)},
                "weight": _known(weights, k),
                "accuracy": _known(accuracies, k),
            }
        )
    return found


def _known(values: np.ndarray | None, k: int) -> float | None:
    return None if values is None or np.isnan(values[k]) else float(values[k])


def count_labels(votes: Votes, labels: np.ndarray) -> Facts:
    """Rows by what became of them, and those of each class."""
    covered = (votes.matrix != ABSTAIN).any(axis=1)
    return {
        "labelled": int((labels != ABSTAIN).sum()),
        "uncovered": int((~covered).sum()),
        "tied": int((covered & (labels == ABSTAIN)).sum()),
        "classes": {name: int((labels == c).sum()) for c, name in enumerate(votes.classes)},
    }


def score_gold(gold: Gold, votes: Votes, labels: np.ndarray, probabilities: np.ndarray) -> Facts:
    """How weak labels compare with true ones, on the rows that have both.

    `majority_accuracy` is that of the plain majority of the votes, on the rows that it decides.
    """
    majority = majority_vote(votes.matrix, len(votes.classes))
    counted = weak_labels(votes.matrix, majority)
    compared, decided = ((gold.targets >= 0) & (x != ABSTAIN) for x in (labels, counted))
    scores = None
    if compared.any():
        padded = np.zeros((int(compared.sum()), len(gold.classes)))
        padded[:, : probabilities.shape[1]] = probabilities[compared]
        scores = classification_scores(gold.targets[compared], padded, gold.classes)
    right = counted[decided] == gold.targets[decided]
    return {
        "column": gold.column,
        "rows": int((gold.targets >= 0).sum()),
        "compared": int(compared.sum()),
        "majority_accuracy": float(right.mean()) if len(right) else None,
        "scores": scores,
    }


def facts_table(facts: Facts) -> str:
    """The facts as aligned text, to be printed."""
    rules, gold = facts["rules"], facts["gold"]
    columns = ["coverage", "overlaps", "conflicts", "faults"]
    columns += ["weight"] if any(rule["weight"] is not None for rule in rules) else []
    columns += ["accuracy"] if gold else []
    names = [_fold(rule["name"]) for rule in rules]
    classes = [_fold(", ".join(rule["classes"]) or "never votes") for rule in rules]
    wide, wider = max(map(len, ("rule", *names))), max(map(len, ("votes for", *classes)))
    lines = [f"{'rule':{wide}}  {'votes for':{wider}}" + "".join(f"  {c}" for c in columns)]
    for rule, name, voted in zip(rules, names, classes, strict=True):
        cells = "".join(f"  {_cell(rule[c], c):>{len(c)}}" for c in columns)
        lines.append(f"{name:{wide}}  {voted:{wider}}{cells}")
    return "\n".join([*lines, "", *_outcome(facts), *(_gold_lines(gold) if gold else [])])


def _cell(value: Any, column: str) -> str:
    if value is None:
        return "-"
    if column == "faults":
        return f"{value:,}"
    return f"{value:.3f}" if column in ("weight", "accuracy") else f"{value:.1%}"


def _outcome(facts: Facts) -> list[str]:
    rows = facts["data"]["rows"]
    how = {"label-model": "the label model", "majority": "majority of the votes"}
    lines = [
        f"{facts['labelled']:,} of {rows:,} rows labelled by {how[facts['combine']]}; on "
        f"{facts['uncovered']:,} no rule votes, on {facts['tied']:,} the votes tie"
    ]
    if facts["data"]["empty_texts"]:
        lines.append(f"rows with an empty text: {facts['data']['empty_texts']:,}")
    return lines + [f"{count:7,}  {_fold(name)}" for name, count in facts["classes"].items()]


def _gold_lines(gold: Facts) -> list[str]:
    if gold["scores"] is None:
        return ["", f"no labelled row has a label in the column {gold['column']}"]
    majority = gold["majority_accuracy"]
    return [
        "",
        f"{gold['compared']:,} labelled rows beside the column {gold['column']}; plain majority of "
        f"the votes, where it decides: accuracy {_cell(majority, 'accuracy')}",
        "",
        scores_table(gold["scores"]),
    ]


def _fold(name: str) -> str:
    """One line, shortened."""
    name = " ".join(name.split())
    return name if len(name) <= _WIDTH else f"{name[: _WIDTH - 1]}…"
