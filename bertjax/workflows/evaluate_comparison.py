"""Another run on the same rows, in a report of `bertjax evaluate`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bertjax.data.sources import check_columns, text_of
from bertjax.errors import UserError
from bertjax.evaluation.comparison import (
    LEVEL,
    RESAMPLES,
    SCORES,
    bootstrap_differences,
    contingency,
    mcnemar,
)
from bertjax.evaluation.figures import Intervals, Span
from bertjax.evaluation.report import Finding, Section, Table
from bertjax.serving.predictor import Predictor
from bertjax.workflows.configs import EvaluateConfig
from bertjax.workflows.evaluate_facts import storable
from bertjax.workflows.evaluate_rows import Rows
from bertjax.workflows.named_run import run_folder
from bertjax.workflows.wording import plural, short

Facts = dict[str, Any]

_SHOWN = 10  # rows in a table
_NAMES = {"accuracy": "Accuracy", "weighted_f1": "Weighted F1", "macro_f1": "Macro F1"}


@dataclass(frozen=True)
class Other:
    """The run to compare with, ready to be asked."""

    name: str
    predictor: Predictor
    order: list[int]  # its class for each class of the run that is evaluated


def load_other(config: EvaluateConfig, labels: Sequence[str]) -> Other:
    """The run that `config.compare` names; `labels` are those of the run that is evaluated.

    Raises:
        UserError: there is no such run, or it has other classes.
    """
    assert config.compare is not None
    folder = run_folder(config.compare, config.tracking_uri)
    predictor = Predictor.load(folder, config.precision)
    if set(predictor.labels) != set(labels):
        raise UserError(
            f"--compare {config.compare} has the classes {', '.join(predictor.labels)}, but "
            f"{config.run} has {', '.join(labels)}: compare runs of the same classes"
        )
    return Other(config.compare, predictor, [predictor.labels.index(label) for label in labels])


def other_probabilities(config: EvaluateConfig, other: Other, rows: Rows) -> np.ndarray:
    """[N, C] of the other run for the rows, from the columns that it was trained on.

    From those of this run, if the columns are given or the other does not name its own.

    Raises:
        UserError: the table lacks such a column.
    """
    run = other.predictor.run
    if config.text or run.label is None:
        return other.predictor.probabilities(rows.texts)[:, other.order]
    check_columns(rows.frame, run.text, config.data)
    texts = text_of(rows.frame, run.text, config.data)
    return other.predictor.probabilities(texts)[:, other.order]


def measure_comparison(
    rows: Rows,
    probabilities: np.ndarray,
    others: np.ndarray,
    labels: Sequence[str],
    names: tuple[str, str],
    seed: int = 0,
) -> Facts:
    """What sets two runs apart, by their probabilities [N, C] for N rows.

    Args:
        names: of this run, and of the other.

    Returns:
        run, other, contingency (both, this_only, other_only, neither), mcnemar (p_value, method,
        statistic), differences (of each score: this, other, difference, low, high), level,
        resamples; this_only and other_only: rows that one alone has right, the surest errors of
        the other first, as row, label, this and other (class, probability), text.
    """
    mine, theirs = probabilities.argmax(axis=1), others.argmax(axis=1)
    table = contingency(rows.targets, theirs, mine)
    found = bootstrap_differences(rows.targets, theirs, mine, len(labels), seed=seed)
    differences = {
        name: dict(zip(("other", "this", "difference", "low", "high"), one, strict=True))
        for name, one in found.items()
    }
    return {
        "run": names[0],
        "other": names[1],
        "contingency": dict(
            zip(("both", "other_only", "this_only", "neither"), table, strict=True)
        ),
        "mcnemar": mcnemar(table.first_only, table.second_only)._asdict(),
        "differences": differences,
        "level": LEVEL,
        "resamples": RESAMPLES,
        "this_only": _alone(rows, labels, probabilities, others, this=True),
        "other_only": _alone(rows, labels, probabilities, others, this=False),
    }


def _alone(
    rows: Rows, labels: Sequence[str], probabilities: np.ndarray, others: np.ndarray, this: bool
) -> list[Facts]:
    """Rows that one run alone has right; the surest errors of the other first."""
    right, wrong = (probabilities, others) if this else (others, probabilities)
    one_right, other_right = (values.argmax(axis=1) == rows.targets for values in (right, wrong))
    found = np.flatnonzero(one_right & ~other_right)
    found = found[np.argsort(-wrong[found].max(axis=1), kind="stable")]

    def said(values: np.ndarray, row: int) -> list[Any]:
        return [labels[int(values[row].argmax())], float(values[row].max())]

    return [
        {
            "row": int(rows.numbers[row]),
            "label": labels[int(rows.targets[row])],
            "this": said(probabilities, row),
            "other": said(others, row),
            "text": storable(rows.texts[row]),
        }
        for row in found.tolist()
    ]


def comparison_section(facts: Facts) -> Section:
    """Scores of both with intervals, who has what right, and the rows that tell them apart."""
    counts, test = facts["contingency"], facts["mcnemar"]
    how = "exact" if test["method"] == "exact" else "by chi-square"
    verdict = (
        "that would be rare by chance alone" if _differ(facts) else "that may well be by chance"
    )
    alone = (
        f"This run alone has {plural(counts['this_only'], 'row')} right, the other alone "
        f"{plural(counts['other_only'], 'row')}: McNemar's test ({how}) gives "
        f"p = {_p(test['p_value'])}, so {verdict}."
    )
    if not counts["this_only"] + counts["other_only"]:
        alone = "Both have the same rows right."
    sentences = (
        f"This run is {facts['run']}, the other {facts['other']}. Rows that one of them was "
        "trained on flatter it.",
        alone,
        f"The intervals are the middle {facts['level']:.0%} of {facts['resamples']:,} samples of "
        "the rows (bootstrap): a difference whose interval holds 0 may be none.",
    )
    tables = [
        _scores(facts),
        Table(
            "Who has how many rows right",
            ("Rows", "The other right", "The other wrong"),
            (
                ("This right", counts["both"], counts["this_only"]),
                ("This wrong", counts["other_only"], counts["neither"]),
            ),
        ),
    ]
    for key, caption in {
        "this_only": "Rows that this run alone has right",
        "other_only": "Rows that the other alone has right",
    }.items():
        if rows := facts[key]:
            tables.append(_rows(caption, rows))
    return Section("comparison", "Beside another run", sentences, (_picture(facts),), tuple(tables))


def comparison_findings(facts: Facts) -> Iterator[Finding]:
    """Which run is better, in a sentence."""
    one = facts["differences"]["accuracy"]
    way = "better" if one["difference"] > 0 else "worse"
    interval = f"{100 * one['low']:+.1f} to {100 * one['high']:+.1f} points of accuracy"
    if _differ(facts):
        text = f"Surely {way} than {facts['other']}: {interval}."
    else:
        text = f"Not surely better or worse than {facts['other']}: {interval}."
    yield Finding(text, _differ(facts) and way == "worse", "comparison")


def _scores(facts: Facts) -> Table:
    lines = tuple(
        (
            _NAMES[name],
            f"{one['this']:.3f}",
            f"{one['other']:.3f}",
            f"{one['difference']:+.3f}",
            f"{one['low']:+.3f} to {one['high']:+.3f}",
        )
        for name, one in ((name, facts["differences"][name]) for name in SCORES)
    )
    return Table(
        "Scores of both", ("Score", "This run", "The other", "Difference", "Interval"), lines
    )


def _picture(facts: Facts) -> Intervals:
    title = f"Scores of this run less the other's, and between what they lie ({facts['level']:.0%})"
    spans = tuple(
        Span(_NAMES[name], one["difference"], one["low"], one["high"])
        for name, one in ((name, facts["differences"][name]) for name in SCORES)
    )
    return Intervals("comparison", title, spans, 0.0, "no difference", signed=True)


def _differ(facts: Facts) -> bool:
    return facts["mcnemar"]["p_value"] < 1 - facts["level"]


def _rows(caption: str, rows: Sequence[Facts]) -> Table:
    if len(rows) > _SHOWN:
        caption += f": {_SHOWN} of {len(rows)}, the surest errors first"
    lines = tuple(
        (
            one["row"],
            one["label"],
            f"{one['this'][0]} {one['this'][1]:.1%}",
            f"{one['other'][0]} {one['other'][1]:.1%}",
            short(one["text"]),
        )
        for one in rows[:_SHOWN]
    )
    return Table(caption, ("Row", "Label", "This run", "The other", "Text"), lines)


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"
