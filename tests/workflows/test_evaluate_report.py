"""The page of an evaluation."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bertjax.evaluation.figures import Bars, Matrix
from bertjax.evaluation.report import Finding, Section, render
from bertjax.workflows.evaluate_facts import measure
from bertjax.workflows.evaluate_report import compose, sections

SETTINGS = {"run": "runs/tags/", "data": "tables/more.csv", "held_out": False}
SECTIONS = [
    "scores",
    "confusion",
    "slices",
    "calibration",
    "thresholds",
    "label-issues",
    "wrong",
]


def with_settings(facts: dict[str, Any]) -> dict[str, Any]:
    return {**facts, "settings": SETTINGS, "versions": {"jax": "1"}}


@pytest.fixture
def facts(make_evaluated) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    targets = np.arange(60) % 3
    probabilities = rng.dirichlet(np.ones(3), 60) * 0.3 + 0.7 * np.eye(3)[targets]
    probabilities[:6] = probabilities[:6, [1, 2, 0]]  # six are wrong
    found = make_evaluated(targets, probabilities, temperature=1.5, threshold=0.8)
    return with_settings(measure(found, None, {}, lambda line: None))


def test_sections_stand_in_order_and_others_may_stand_among_them(facts):
    own = sections(facts)
    assert [section.anchor for section in own] == SECTIONS
    more = Section("more", "More", ("a sentence",))
    findings = Finding("fine", False, "more"), Finding("bad", True, "more")
    report = compose(facts, [*own[:2], more, *own[2:]], findings)
    assert [section.anchor for section in report.sections][2] == "more"
    assert [finding.text for finding in report.findings] == ["bad", "fine"]
    assert report.title == "How well tags predicts more.csv"
    assert "temperature 1.50" in report.subtitle
    assert "bertjax evaluate runs/tags tables/more.csv" in report.footer
    assert {fact.name: fact.value for fact in report.facts}["mistakes"] == "6"


def test_figures_have_names_of_their_own(facts):
    figures = compose(facts, sections(facts), ()).figures
    names = [figure.name for figure in figures]
    assert names[:4] == ["confusion", "mistakes", "slices", "reliability"]
    assert names[4:] == ["confidence", "coverage", "thresholds"]
    assert all(figure.alt for figure in figures)


def test_scores_of_classes_are_in_per_cent(facts):
    (table,) = sections(facts)[0].tables
    name, precision, *_, rows = table.rows[0]
    assert (name, rows) == ("a", 20)
    assert precision == pytest.approx(100 * facts["per_class"]["a"]["precision"])
    assert [row[0] for row in table.rows[-2:]] == ["macro average", "weighted average"]


def test_of_many_classes_those_with_most_mistakes_are_drawn(facts):
    labels = [f"class {number}" for number in range(40)]
    matrix = np.eye(40, dtype=int) * 5
    matrix[39, 0] = 3
    scores = {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 5}
    many = {**facts, "labels": labels, "confusion_matrix": matrix.tolist()}
    many["per_class"] = dict.fromkeys(labels, scores)
    section = sections(many)[1]
    figure, mistakes = section.figures
    assert isinstance(figure, Matrix)
    assert len(figure.classes) == 30
    assert {"class 0", "class 39"} <= set(figure.classes)
    assert section.sentences[0] == "The 30 of 40 classes with most mistakes."
    assert isinstance(mistakes, Bars)
    assert mistakes.items == (("class 39 taken for class 0", 3),)


def test_hostile_names_and_texts_are_text(make_evaluated):
    script = "<script>alert(1)</script>"
    found = make_evaluated([0, 1, 0], [[0.1, 0.9], [0.2, 0.8], [0.9, 0.1]], [script] * 3)
    found = replace(found, classes=(script, "b"))
    facts = with_settings(measure(found, None, {}, lambda line: None))
    page = render(compose(facts, sections(facts), ()))
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


@pytest.mark.parametrize(
    "problem_type", ["single_label_classification", "multi_label_classification"]
)
def test_a_single_row_makes_a_page(make_evaluated, problem_type):
    found = make_evaluated([1], [[0.2, 0.8]], [""], problem_type=problem_type)
    facts = with_settings(measure(found, None, {}, lambda line: None))
    page = render(compose(facts, sections(facts), ()))
    assert "No slice has a row." in page
    assert "Not looked for:" in page
    assert ("Not computed:" in page) == (problem_type != "single_label_classification")
