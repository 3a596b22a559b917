"""The workflow of `bertjax label`: a table and rules to a table with weak labels."""

from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bertjax.data.formats import check_writable, write_file
from bertjax.data.labels import quoted
from bertjax.data.soft_labels import soft_classes, soft_column
from bertjax.data.sources import check_columns, fingerprint, read_frame, text_of
from bertjax.data.weak_labels import (
    ABSTAIN,
    MIN_RULES,
    Fault,
    Rule,
    Votes,
    apply_rules,
    check_classes,
    fit_label_model,
    majority_vote,
    weak_labels,
)
from bertjax.errors import UserError
from bertjax.workflows.label_configs import Combine, LabelConfig
from bertjax.workflows.label_facts import Facts, Gold, count_labels, describe_rules, score_gold
from bertjax.workflows.user_code import callables, line_of, load_user_code, one_line

if TYPE_CHECKING:
    import pandas as pd

LABEL = "weak_label"  # the column that is written

Say = Callable[[str], None]


def label(config: LabelConfig, say: Say | None = None) -> Facts:
    """Ask the rules, combine their votes, write `out` if it is given, and return what was found.

    `out` holds the columns of `data`, then `weak_label`, and a column `weak_label:CLASS` of
    probabilities for each class. `say` is told of what a user should know.

    Raises:
        UserError: the rules or the table cannot be used, or `out` cannot be written.
    """
    say = say or (lambda line: None)
    config.check()
    if config.out is not None:
        check_writable(config.out, config.overwrite)
    rules, classes = read_rules(config.rules)
    _check_combine(config.combine, len(rules))
    frame, texts = _read(config)
    votes = apply_rules(rules, rows_of(frame, texts, config.text), classes)
    _tell_faults(config.rules, votes.faults, len(texts), say)
    check_classes(votes)
    gold = None if config.gold is None else Gold.of(frame, config.gold, votes.classes, config.data)
    _tell_silence(votes, list(rules), say)
    combined = _combine(config, votes, say)
    labels = weak_labels(votes.matrix, combined.probabilities)
    facts = {
        "data": _describe(config, texts),
        "rules": describe_rules(list(rules), votes, combined.weights, gold),
        "combine": combined.method,
        **count_labels(votes, labels),
        "gold": None if gold is None else score_gold(gold, votes, labels, combined.probabilities),
    }
    if config.out is None:
        return facts
    if not facts["labelled"]:
        raise UserError(f"the votes tie on every row of {config.data} that has any: add rules")
    table = with_weak_labels(frame, votes.classes, labels, combined.probabilities)
    if config.unlabelled == "drop":
        table = table.take(np.flatnonzero(labels != ABSTAIN))
    write_file(table, config.out)
    return {**facts, "out": str(config.out), "written": len(table)}


def _check_combine(combine: Combine, rules: int) -> None:
    if combine == "label-model" and rules >= MIN_RULES and find_spec("snorkel") is None:
        raise UserError(
            "--combine label-model needs the package snorkel: pip install 'bertjax[labels]', or "
            "--combine majority"
        )


def read_rules(path: Path) -> tuple[dict[str, Rule], tuple[str, ...] | None]:
    """The rules of a file by their names, and its CLASSES if it has such a list.

    Raises:
        UserError: the file cannot be run, has no rule, or its CLASSES are none.
    """
    module = load_user_code(path, "rules")
    rules = callables(module, "rule_", "LabelingFunction")
    if not rules:
        raise UserError(
            f"{path} has no rule: write functions rule_NAME(row), or Snorkel's labeling functions"
        )
    return rules, _classes_of(module, path)


def _classes_of(module: ModuleType, path: Path) -> tuple[str, ...] | None:
    found: Any = getattr(module, "CLASSES", None)
    if found is None:
        return None
    names = list(found) if isinstance(found, Sequence) and not isinstance(found, str) else []
    if len(names) < 2 or not all(isinstance(name, str) and name.strip() for name in names):
        raise UserError(
            f'CLASSES of {path} must be a list of at least two names, as in ["ham", "spam"]'
        )
    if len(set(names)) < len(names):
        raise UserError(f"CLASSES of {path} has a name twice: {quoted(names)}")
    return tuple(names)


def _read(config: LabelConfig) -> "tuple[pd.DataFrame, list[str]]":
    frame = read_frame(config.data)
    texts = text_of(frame, config.text, config.data)
    if config.gold is not None:
        check_columns(frame, [config.gold], config.data)
    if not any(text.strip() for text in texts):
        raise UserError(
            f"{config.data}: every text is empty in {', '.join(config.text)}; name other columns "
            "with --text"
        )
    return frame, texts


def _describe(config: LabelConfig, texts: Sequence[str]) -> Facts:
    return {
        "source": config.data,
        "rows": len(texts),
        "empty_texts": sum(not text.strip() for text in texts),
        "text": list(config.text),
        "fingerprint": fingerprint(list(texts), None),
    }


def rows_of(
    frame: "pd.DataFrame", texts: Sequence[str], columns: Sequence[str]
) -> "Iterable[pd.Series]":
    """The rows as rules see them: with the whole text as `text`, and "" for a missing part of it.

    They are counted in a progress bar, if they take long.
    """
    from tqdm import tqdm

    cells: dict[str, Any] = {
        name: frame[name].astype(object).where(frame[name].notna(), "") for name in columns
    }
    seen = frame.assign(**{**cells, "text": texts})
    rows = (row for _, row in seen.iterrows())
    return tqdm(rows, total=len(texts), desc="rules", unit="row", delay=2, leave=False)


def _tell_faults(path: Path, faults: dict[str, Fault], rows: int, say: Say) -> None:
    """Raise a UserError if a rule fails on every row."""
    for name, fault in faults.items():
        error = f"{path.name}{line_of(fault.error, path)} {one_line(fault.error)}"
        if fault.count == rows:
            raise UserError(f"{name} failed on every row ({rows}), first with {error}; mend it")
        say(f"{name} failed on {fault.count} of {rows} rows, first on row {fault.row}: {error}")


def _tell_silence(votes: Votes, names: Sequence[str], say: Say) -> None:
    silent = [name for k, name in enumerate(names) if (votes.matrix[:, k] == ABSTAIN).all()]
    if silent:
        say(f"no row has a vote of {', '.join(silent)}")
    if votes.unused:
        say(f"no rule votes for {quoted(votes.unused)}, which is left out")


class _Combined(NamedTuple):
    method: Combine
    probabilities: np.ndarray  # [N, C]
    weights: np.ndarray | None  # of the rules [K], of the label model


def _combine(config: LabelConfig, votes: Votes, say: Say) -> _Combined:
    """By the label model, unless too few rules vote for it."""
    classes = len(votes.classes)
    voting = int((votes.matrix != ABSTAIN).any(axis=0).sum())
    if config.combine == "label-model" and voting < MIN_RULES:
        say(
            f"the label model needs {MIN_RULES} rules that vote, and there are {voting}: each vote "
            "counts the same, as with --combine majority"
        )
    elif config.combine == "label-model":
        model = fit_label_model(votes.matrix, classes, config.seed)
        return _Combined("label-model", model.probabilities(votes.matrix), model.weights)
    return _Combined("majority", majority_vote(votes.matrix, classes), None)


def with_weak_labels(
    frame: "pd.DataFrame", classes: Sequence[str], labels: np.ndarray, probabilities: np.ndarray
) -> "pd.DataFrame":
    """The table with its weak labels [N], -1 for none, and their probabilities [N, C].

    Columns of an earlier labelling are replaced.
    """
    names = [str(column) for column in frame.columns]
    old = {LABEL, *(soft_column(LABEL, name) for name in soft_classes(names, LABEL))}
    kept = frame.drop(columns=[column for column in frame.columns if str(column) in old])
    known = np.where(labels[:, None] != ABSTAIN, probabilities, np.nan)
    return kept.assign(
        **{LABEL: [classes[i] if i != ABSTAIN else None for i in labels.tolist()]},
        **{soft_column(LABEL, name): known[:, c] for c, name in enumerate(classes)},
    )
