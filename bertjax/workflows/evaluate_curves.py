"""Calibration and thresholds of `bertjax evaluate` as sections of its report."""

from bertjax.evaluation.figures import Histogram, Line, Lines, Mark
from bertjax.evaluation.report import Section, Table
from bertjax.workflows.evaluate_facts import Facts

_DIAGONAL = Line("as it should be", (0.0, 1.0), (0.0, 1.0), 2, "dashed")
_CALIBRATION = "log_loss", "expected_calibration_error"


def calibration_section(facts: Facts) -> Section:
    """How far probabilities can be taken at their word, with and without the temperature."""
    if "skipped" in facts["reliability"]:
        sentence = f"Not computed: {facts['reliability']['skipped']}."
        return Section("calibration", "Calibration", (sentence,))
    calibration = facts["calibration"]
    prefixes = {"as they are": ""}
    sentences = [
        "Of predictions with a confidence of 80 %, 80 % should be right. Below the dashed line the "
        "model is too sure, above it not sure enough. Bars are 95 % intervals, long where rows are "
        "few."
    ]
    if calibration["temperature"] != 1.0:
        prefixes = {"with temperature": "", "without temperature": "uncalibrated_"}
        sentences.append(
            f"The run divides its logits by a temperature of {calibration['temperature']:.2f}, "
            "which changes no prediction."
        )
    lines = [
        (name, *(f"{calibration[prefix + one]:.4f}" for one in _CALIBRATION))
        for name, prefix in prefixes.items()
    ]
    header = ("Probabilities", "Log loss", "Expected calibration error")
    table = Table("Log loss and calibration error", header, tuple(lines))
    figures = _diagram(facts, prefixes), _confidence(facts)
    return Section("calibration", "Calibration", tuple(sentences), figures, (table,))


def _diagram(facts: Facts, prefixes: dict[str, str]) -> Lines:
    lines = [_DIAGONAL]
    for color, (name, prefix) in reversed(list(enumerate(prefixes.items()))):
        bins = facts["reliability"][f"{prefix}bins"]
        points = [(one["confidence"], one["accuracy"], *one["accuracy_interval"]) for one in bins]
        x, y, low, high = (tuple(values) for values in zip(*points, strict=True))
        # Intervals of one line alone: two at each place could not be told apart.
        spread = () if color else (low, high)
        lines.append(Line(name, x, y, color, "dots", *spread))
    error = facts["calibration"]["expected_calibration_error"]
    return Lines(
        "reliability",
        "How often predictions of some confidence are right",
        "confidence",
        "right",
        tuple(lines),
        says=f"on average {error:.1%} off the diagonal",
    )


def _confidence(facts: Facts) -> Histogram:
    counts = facts["reliability"]["confidence"]
    edges = tuple(range(0, 101, 100 // len(counts)))
    title = "How sure the predictions are"
    return Histogram("confidence", title, "% confidence", edges, tuple(counts))


def thresholds_section(facts: Facts) -> Section:
    """What a threshold costs and gains, and where those lie that may be wanted."""
    found = facts["thresholds"]
    points = {"the run's own": found["own"]} if found["own"] else {}
    points |= {
        f"{one['wanted']:.0%} right": one["reached"]
        for one in found["wanted"]
        if one["reached"] and one["reached"]["coverage"] < 1  # else no threshold is needed
    }
    area, error = found["area_under_risk_coverage"], found["error"]
    sentences = [
        "A prediction whose confidence is under the threshold is not given: serve --threshold and "
        "Predictor do so.",
        f"Area under the risk-coverage curve: {area:.3f}; with the rows in an order by chance it "
        f"would be {error:.3f}. A threshold chosen on these rows does a little worse on others.",
    ]
    if missed := [f"{one['wanted']:.0%}" for one in found["wanted"] if not one["reached"]]:
        sentences.append(f"No threshold makes {', '.join(missed)} right.")
    header = ("For", "Threshold", "Rows answered", "Share in %", "Right in %", "95 % interval")
    lines = tuple(_line(*point) for point in points.items())
    table = Table("Thresholds that may be wanted", header, lines)
    figures = _coverage(found, points), _sweep(found, points)
    tables = (table,) if points else ()
    return Section("thresholds", "Thresholds", tuple(sentences), figures, tables)


def _coverage(found: Facts, points: dict[str, Facts]) -> Lines:
    curve = found["curve"]
    answered = {name: one for name, one in points.items() if one["answered"]}
    marks = [
        Mark(f"{name}: threshold {one['threshold']:.3f}", one["coverage"], one["accuracy"])
        for name, one in answered.items()
    ]
    line = Line("the surest rows first", tuple(curve["coverage"]), tuple(curve["accuracy"]))
    says = [f"with all rows answered {curve['accuracy'][-1]:.1%} right"]
    says += [
        f"{name}: {one['coverage']:.0%} answered, {one['accuracy']:.1%} right"
        for name, one in answered.items()
    ]
    return Lines(
        "coverage",
        "Answering only the surest rows",
        "rows answered",
        "right, of these",
        (line,),
        tuple(marks),
        "; ".join(says),
    )


def _sweep(found: Facts, points: dict[str, Facts]) -> Lines:
    curve = found["curve"]
    thresholds = tuple(curve["thresholds"])
    lines = (
        Line("rows answered", thresholds, tuple(curve["coverage"])),
        Line("right, of these", thresholds, tuple(curve["accuracy"]), 2, "dashed"),
    )
    marks = [Mark(name, one["threshold"], one["coverage"]) for name, one in points.items()]
    title = "What each threshold does"
    return Lines("thresholds", title, "threshold", "share of rows", lines, tuple(marks))


def _line(name: str, one: Facts) -> tuple[str | int | float, ...]:
    low, high = one["accuracy_interval"]
    return (
        name,
        f"{one['threshold']:.3f}",
        one["answered"],
        100 * one["coverage"],
        "none" if one["accuracy"] is None else f"{100 * one['accuracy']:.1f}",
        f"{100 * low:.1f} to {100 * high:.1f}",
    )
