"""The facts of `bertjax evaluate` as a report: sentences, pictures and tables."""

from collections.abc import Sequence

from bertjax.evaluation.figures import Bars, Figure, Matrix
from bertjax.evaluation.report import Fact, Finding, Report, Section, Table
from bertjax.workflows.evaluate_curves import calibration_section, thresholds_section
from bertjax.workflows.evaluate_facts import Facts
from bertjax.workflows.evaluate_findings import confusions
from bertjax.workflows.evaluate_slices import slices_section
from bertjax.workflows.wording import folded, plural, short

_SHOWN = 25  # rows of a table
_MATRIX = 30  # classes of a picture
_MISTAKES = 8  # in bars
_NAME = 28  # letters of a class in a picture


def compose(facts: Facts, sections: Sequence[Section], findings: Sequence[Finding]) -> Report:
    """The page of what `measure` gives, with its settings and versions."""
    settings, data, model = facts["settings"], facts["data"], facts["model"]
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    run = settings["run"].rstrip("/")
    said = [f"Text of {', '.join(data['text'])}; label {data['label']}"]
    if settings["held_out"]:
        said.append("rows that were not trained on")
    if model["temperature"] != 1.0:
        said.append(f"temperature {model['temperature']:.2f}")
    return Report(
        title=f"How well {_last(run)} predicts {_last(settings['data'])}",
        subtitle=f"{'; '.join(said)}. Rows are counted from 0.",
        facts=_facts(facts),
        findings_title="What to know before using it",
        findings=tuple(sorted(findings, key=lambda finding: not finding.grave)),
        sections=tuple(sections),
        footer=f"bertjax evaluate {run} {settings['data']}; sha256 of the rows "
        f"{data['fingerprint']}; {versions}. All numbers are in report.json, the pictures in "
        "figures/.",
    )


def sections(facts: Facts) -> list[Section]:
    """What is shown of these facts, in order."""
    return [
        _scores(facts),
        _confusion(facts),
        slices_section(facts),
        calibration_section(facts),
        thresholds_section(facts),
        _label_issues(facts),
        _wrong(facts),
    ]


def _facts(facts: Facts) -> tuple[Fact, ...]:
    shown = [
        Fact(f"{facts['accuracy']:.1%}", "accuracy"),
        Fact(f"{facts['weighted_f1']:.3f}", "weighted F1"),
        Fact(f"{facts['macro_f1']:.3f}", "macro F1"),
        Fact(f"{facts['data']['rows']:,}", "rows"),
        Fact(f"{len(facts['wrong']):,}", "mistakes"),
    ]
    if "calibration" in facts:
        error = facts["calibration"]["expected_calibration_error"]
        shown.append(Fact(f"{error:.1%}", "calibration error"))
    if "skipped" not in facts["label_issues"]:
        shown.append(Fact(f"{len(facts['label_issues']['issues']):,}", "labels in doubt"))
    return tuple(shown)


def _scores(facts: Facts) -> Section:
    lines = [
        (name, 100 * one["precision"], 100 * one["recall"], 100 * one["f1"], one["support"])
        for name, one in facts["per_class"].items()
    ]
    for average in ("macro", "weighted"):
        values = (100 * facts[f"{average}_{name}"] for name in ("precision", "recall", "f1"))
        lines.append((f"{average} average", *values, facts["support"]))
    header = ("Class", "Precision in %", "Recall in %", "F1 in %", "Rows")
    sentences = [
        "Precision: how many of the rows predicted as a class are of it. Recall: how many rows of "
        "a class are predicted as it. F1: their harmonic mean. The weighted average counts each "
        "row alike, the macro average each class."
    ]
    training = facts["training"]
    if "skipped" in training:
        sentences.append(f"{training['skipped']}.")
    else:
        count = training["trained_on"]
        sentences.append(
            f"{f'{count:,}' if count else 'None'} of these texts stand among the "
            f"{training['rows']:,} that the run was trained on ({training['source']})."
        )
    table = Table("Scores of each class", header, tuple(lines))
    return Section("scores", "Scores", tuple(sentences), (), (table,))


def _confusion(facts: Facts) -> Section:
    labels, counts = facts["labels"], facts["confusion_matrix"]
    sentences = []
    shown = list(range(len(labels)))
    if len(labels) > _MATRIX:
        mistakes = [
            sum(counts[i]) + sum(row[i] for row in counts) - 2 * counts[i][i] for i in shown
        ]
        shown = sorted(sorted(shown, key=lambda i: -mistakes[i])[:_MATRIX])
        sentences.append(f"The {_MATRIX} of {len(labels):,} classes with most mistakes.")
    names = [folded(label, _NAME) for label in labels]
    matrix = Matrix(
        "confusion",
        "Rows of each class, and what they are predicted as",
        tuple(names[i] for i in shown),
        tuple(tuple(counts[i][j] for j in shown) for i in shown),
    )
    sentences.append(
        "A row of the matrix is a true class, a column a predicted one. Blue is right, orange "
        "wrong; the stronger, the more of the class."
    )
    figures: list[Figure] = [matrix]
    if found := confusions(facts)[:_MISTAKES]:
        items = tuple(
            (f"{folded(true, _NAME)} taken for {folded(predicted, _NAME)}", count)
            for count, true, predicted in found
        )
        figures.append(Bars("mistakes", "The most frequent mistakes", items, (1,) * len(items)))
    return Section("confusion", "Confusions", tuple(sentences), tuple(figures))


def _label_issues(facts: Facts) -> Section:
    found, title = facts["label_issues"], "Likely label errors"
    if "skipped" in found:
        return Section("label-issues", title, (f"Not looked for: {found['skipped']}.",))
    issues = found["issues"]
    lines = [
        (
            one["row"],
            one["given"],
            one["suggested"],
            100 * one["score"],
            100 * one["suggested_score"],
            short(one["text"]),
        )
        for one in issues[:_SHOWN]
    ]
    header = (
        "Row",
        "Label",
        "Rather",
        "Label's probability in %",
        "The other's in %",
        "Text",
    )
    tables = [Table("Labels to look at, the likeliest error first", header, tuple(lines))]
    sentences = [
        f"{plural(len(issues), 'label')} that the model doubts (confident learning, by cleanlab). "
        "Some are right, and the model is wrong: only reading tells. "
        f"{_at_most(issues)}"
    ]
    if facts["training"].get("trained_on"):
        sentences.append("In rows that were trained on, the model has learned the errors as well.")
    return Section("label-issues", title, tuple(sentences), (), tuple(tables if issues else ()))


def _wrong(facts: Facts) -> Section:
    wrong = facts["wrong"]
    lines = [
        (
            one["row"],
            one["label"],
            one["predicted"],
            100 * one["score"],
            100 * one["label_score"],
            short(one["text"]),
        )
        for one in wrong[:_SHOWN]
    ]
    header = ("Row", "Label", "Predicted", "Probability in %", "Label's in %", "Text")
    table = Table("Wrong predictions, the surest first", header, tuple(lines))
    sentence = f"{plural(len(wrong), 'wrong prediction')}. {_at_most(wrong)}"
    return Section("wrong", "Wrong predictions", (sentence,), (), (table,) if wrong else ())


def _at_most(items: list[Facts]) -> str:
    return f"The first {_SHOWN} are shown; all are in report.json." if len(items) > _SHOWN else ""


def _last(path: str) -> str:
    return path.rstrip("/").rsplit("/", 1)[-1]
