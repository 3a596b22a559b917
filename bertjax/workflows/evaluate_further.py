"""What a report of `bertjax evaluate` has besides scores: words, behaviour, and another run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bertjax.evaluation.behaviour import Test
from bertjax.evaluation.behaviour_outcomes import check_labels
from bertjax.evaluation.report import Finding, Section
from bertjax.serving.predictor import Predictor
from bertjax.workflows.configs import EvaluateConfig
from bertjax.workflows.evaluate_behaviour import (
    behaviour_findings,
    behaviour_section,
    measure_behaviour,
    read_tests,
)
from bertjax.workflows.evaluate_comparison import (
    Other,
    comparison_findings,
    comparison_section,
    load_other,
    measure_comparison,
    other_probabilities,
)
from bertjax.workflows.evaluate_explained import explained_section, measure_explained
from bertjax.workflows.evaluate_facts import Evaluated

Facts = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """What the user has named, read before the model is at work."""

    tests: Mapping[str, Test]
    other: Other | None


def read_asked(config: EvaluateConfig, predictor: Predictor) -> Asked:
    """The user's behavioural tests, and the run to compare with.

    Raises:
        UserError: one of them cannot be read, or is about other classes.
    """
    tests = {} if config.behaviour is None else read_tests(config.behaviour)
    check_labels(tests, predictor.labels)
    other = None if config.compare is None else load_other(config, predictor.labels)
    return Asked(tests, other)


def measure_further(
    config: EvaluateConfig,
    predictor: Predictor,
    found: Evaluated,
    asked: Asked,
    say: Callable[[str], None],
) -> Facts:
    """explained, behaviour and comparison (None without another run), ready for JSON."""
    rows, labels, comparison = found.rows, found.classes, None
    say("changing texts to see what predictions do")
    behaviour = measure_behaviour(predictor.probabilities, labels, rows, asked.tests)
    explained = measure_explained(
        predictor, rows, found.probabilities, config.explain, config.lime, say
    )
    if asked.other is not None:
        say(f"comparing with {asked.other.name}")
        others = other_probabilities(config, asked.other, rows)
        names = config.run, asked.other.name
        comparison = measure_comparison(rows, found.probabilities, others, labels, names)
    return {"explained": explained, "behaviour": behaviour, "comparison": comparison}


def further_sections(facts: Facts) -> list[Section]:
    """What is shown of these, in order."""
    found = [explained_section(facts["explained"]), behaviour_section(facts["behaviour"])]
    if facts["comparison"] is not None:
        found.append(comparison_section(facts["comparison"]))
    return [section for section in found if section]


def further_findings(facts: Facts) -> list[Finding]:
    """What matters of these before a model is used."""
    found = [*behaviour_findings(facts["behaviour"])]
    if facts["comparison"] is not None:
        found += comparison_findings(facts["comparison"])
    return found
