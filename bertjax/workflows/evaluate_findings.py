"""What in the facts of `bertjax evaluate` matters before a model is used, a sentence each."""

from collections.abc import Iterator

from bertjax.evaluation.report import Finding
from bertjax.workflows.evaluate_facts import Facts
from bertjax.workflows.wording import plural, short

_NAMED = 4  # slices and classes in a sentence
_NAME = 60  # letters of a class
_UNSURE = 0.05  # expected calibration error from which probabilities cannot be taken at their word
_FEW = 30  # rows from which a score says something
_WANTED = 0.95  # accuracy that a threshold is named for
_COVERED = 0.5  # share of the rows that should still be answered with it
_MANY = 0.05  # share of labels in doubt


def find(facts: Facts) -> tuple[Finding, ...]:
    """The grave ones first."""
    found = [
        *_training(facts),
        *_rows(facts),
        *_classes(facts),
        *_confusion(facts),
        *_slices(facts),
        *_failures(facts),
        *_calibration(facts),
        *_thresholds(facts),
        *_label_issues(facts),
        *_truncated(facts),
    ]
    return tuple(sorted(found, key=lambda finding: not finding.grave))


def between(interval: list[float]) -> str:
    """An interval of shares, in per cent."""
    return f"{interval[0]:.1%} to {interval[1]:.1%}"


def confusions(facts: Facts) -> list[tuple[int, str, str]]:
    """(rows, true class, predicted class) of the wrong predictions, the most frequent first."""
    labels = facts["labels"]
    found = [
        (count, labels[true], labels[predicted])
        for true, row in enumerate(facts["confusion_matrix"])
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    return sorted(found, key=lambda one: -one[0])


def _training(facts: Facts) -> Iterator[Finding]:
    training, rows = facts["training"], facts["data"]["rows"]
    if "skipped" in training:
        return
    count = training["trained_on"]
    if not count:
        text = f"None of the {rows:,} texts was trained on."
        yield Finding(text, False, "scores")
        return
    text = f"{count:,} of {plural(rows, 'text')} were trained on, so the scores are too good."
    if others := training.get("others"):
        text += (
            f" Of the {others['rows']:,} others {others['accuracy']:.1%} are right"
            f" ({between(others['accuracy_interval'])}): --held-out scores these alone."
        )
    yield Finding(text, True, "scores")


def _rows(facts: Facts) -> Iterator[Finding]:
    data = facts["data"]
    rows, interval = data["rows"], facts["accuracy_interval"]
    text = f"{facts['accuracy']:.1%} of {plural(rows, 'row')} predicted right"
    if not facts["training"].get("trained_on"):  # else others are not like them
        text += f"; of others like them it would be {between(interval)} (95 %)"
    yield Finding(f"{text}.", rows < _FEW, "scores")
    if data["empty"]:
        share = f"{data['empty'] / rows:.1%}"
        text = (
            f"{plural(data['empty'], 'empty text')}, {share} of the rows, tell the model nothing."
        )
        yield Finding(text, True, "slices")
    if facts["dropped"]:
        text = f"{plural(facts['dropped'], 'row')} without a label: left out."
        yield Finding(text, False, "scores")


def _classes(facts: Facts) -> Iterator[Finding]:
    absent = [name for name, one in facts["per_class"].items() if not one["support"]]
    if absent:
        names = ", ".join(short(name, _NAME) for name in absent[:_NAMED])
        more = f" and {len(absent) - _NAMED} more" if len(absent) > _NAMED else ""
        text = f"No row of {plural(len(absent), 'class', 'classes')}: {names}{more}; their scores "
        yield Finding(text + "are 0, and lower the macro averages.", True, "scores")
    never = [
        short(name, _NAME)
        for number, (name, one) in enumerate(facts["per_class"].items())
        if one["support"] and not any(row[number] for row in facts["confusion_matrix"])
    ]
    if never:
        text = f"Never predicted: {', '.join(never[:_NAMED])}"
        more = f" and {len(never) - _NAMED} more." if len(never) > _NAMED else "."
        yield Finding(text + more, True, "confusion")


def _confusion(facts: Facts) -> Iterator[Finding]:
    found = confusions(facts)
    if not found:
        yield Finding("Every row is predicted right.", False, "confusion")
        return
    count, true, predicted = found[0]
    yield Finding(
        f"The most frequent mistake: {short(true, _NAME)} taken for {short(predicted, _NAME)}, "
        f"{plural(count, 'time')} of {len(facts['wrong']):,}.",
        False,
        "confusion",
    )


def _slices(facts: Facts) -> Iterator[Finding]:
    worse = [one for one in facts["slices"] if one.get("verdict") == "worse"]
    if worse:
        worse.sort(key=lambda one: one["difference"])
        said = ", ".join(
            f"{short(one['name'], _NAME)} ({one['accuracy']:.1%} of {one['rows']:,})"
            for one in worse[:_NAMED]
        )
        more = f" and {len(worse) - _NAMED} more" if len(worse) > _NAMED else ""
        yield Finding(f"Surely worse than the other rows: {said}{more}.", True, "slices")
    elif facts["slices"]:
        yield Finding("No slice is surely worse than the other rows.", False, "slices")


def _failures(facts: Facts) -> Iterator[Finding]:
    failed = [one for one in facts["slices"] if one["failed"]]
    for one in failed[:_NAMED]:
        text = (
            f"The function of slice {short(one['name'], _NAME)} failed on "
            f"{plural(len(one['failed']), 'row')}, which are not in it: {short(one['error'])}"
        )
        yield Finding(text, True, "slices")
    if len(failed) > _NAMED:
        text = f"The functions of {len(failed) - _NAMED} more slices failed on some rows."
        yield Finding(text, True, "slices")


def _calibration(facts: Facts) -> Iterator[Finding]:
    if "calibration" not in facts:
        return
    error = facts["calibration"]["expected_calibration_error"]
    gap = facts["reliability"]["mean_confidence"] - facts["accuracy"]
    way = "too sure" if gap > 0 else "not sure enough"
    if error > _UNSURE:
        text = f"Probabilities are {error:.1%} off on average, mostly {way}"
        if facts["model"]["temperature"] == 1.0:
            text += ": finetune --validation-size 0.2 fits a temperature that mends it"
        yield Finding(text + ".", True, "calibration")
    else:
        text = f"Probabilities can be taken at their word: {error:.1%} off on average."
        yield Finding(text, False, "calibration")


def _thresholds(facts: Facts) -> Iterator[Finding]:
    if facts["accuracy"] >= _WANTED:
        return
    wanted = next(one for one in facts["thresholds"]["wanted"] if one["wanted"] == _WANTED)
    reached = wanted["reached"]
    if reached is None:
        text = f"No threshold reaches {_WANTED:.0%} accuracy: the surest predictions are wrong too."
        yield Finding(text, True, "thresholds")
        return
    yield Finding(
        f"With a threshold of {reached['threshold']:.2f}, {reached['coverage']:.0%} of the rows "
        f"are answered, and {reached['accuracy']:.1%} of these right.",
        reached["coverage"] < _COVERED,
        "thresholds",
    )


def _label_issues(facts: Facts) -> Iterator[Finding]:
    if "skipped" in facts["label_issues"]:
        return
    count = len(facts["label_issues"]["issues"])
    if not count:
        yield Finding("No label is likely wrong.", False, "label-issues")
        return
    share = count / facts["data"]["rows"]
    text = f"{plural(count, 'label is', 'labels are')} likely wrong ({share:.1%}): read them first."
    yield Finding(text, share > _MANY, "label-issues")


def _truncated(facts: Facts) -> Iterator[Finding]:
    if count := facts["truncated"]:
        share = f"{count / facts['data']['rows']:.1%}"
        text = f"{plural(count, 'text')} longer than what the model reads ({share})."
        yield Finding(text, True, "slices")
    else:
        yield Finding("Every text is read to its end.", False, "slices")
