"""The slices of `bertjax evaluate` as a section of its report."""

from bertjax.evaluation.figures import Intervals, Span
from bertjax.evaluation.report import Section, Table
from bertjax.workflows.evaluate_facts import Facts
from bertjax.workflows.wording import folded, plural, short

_DRAWN = 20  # slices
_NAME = 40  # letters of a slice's name in a picture
_VERDICTS = {
    "worse": "worse",
    "better": "better",
    "same": "as the others",
    "small": "too few rows",
    "all": "all rows",
}
_HEADER = (
    "Slice",
    "Rows that are in it",
    "Rows",
    "Share in %",
    "Accuracy in %",
    "Difference from all",
    "Verdict",
    "Weighted F1 in %",
    "Macro F1 in %",
)
_HOW = (
    "A slice is called worse or better only if chance does not explain its difference from the "
    "other rows, at 95 % for all slices together. The difference is that of accuracy, in points, "
    "with its own 95 % interval. The macro F1 is of the classes that the slice has."
)


def slices_section(facts: Facts) -> Section:
    """A picture of all accuracies, and a table."""
    slices = facts["slices"]
    filled = [one for one in slices if one["rows"]]
    sentences = [_HOW]
    if empty := [short(one["name"], _NAME) for one in slices if not one["rows"]]:
        sentences.append(f"Without a row: {', '.join(empty)}.")
    sentences += [
        f"The function of {one['name']} failed on {plural(len(one['failed']), 'row')}, first on "
        f"row {one['failed'][0]}: {short(one['error'])}"
        for one in slices
        if one["failed"]
    ]
    if len(filled) > _DRAWN:
        sentences.append(f"The first {_DRAWN} are drawn.")
    if not filled:
        return Section("slices", "Slices", (*sentences, "No slice has a row."))
    title = "Accuracy of each slice, with its 95 % interval"
    spans = tuple(map(_span, filled[:_DRAWN]))
    figure = Intervals("slices", title, spans, facts["accuracy"], "all rows")
    table = Table("All slices", _HEADER, tuple(map(_line, filled)))
    return Section("slices", "Slices", tuple(sentences), (figure,), (table,))


def _span(one: Facts) -> Span:
    name = f"{folded(one['name'], _NAME)} ({one['rows']:,})"
    low, high = one["accuracy_interval"]
    return Span(name, one["accuracy"], low, high, one["verdict"] == "small")


def _line(one: Facts) -> tuple[str | int | float, ...]:
    low, high = one["difference_interval"]
    difference = f"{100 * one['difference']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
    return (
        one["name"],
        one["says"],
        one["rows"],
        100 * one["share"],
        100 * one["accuracy"],
        difference,
        _VERDICTS[one["verdict"]],
        100 * one["weighted_f1"],
        100 * one["macro_f1"],
    )
