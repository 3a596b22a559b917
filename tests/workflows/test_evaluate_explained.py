import json

import numpy as np
import pytest

from bertjax.evaluation.report import Report, render
from bertjax.serving.predictor import Predictor
from bertjax.workflows.evaluate_explained import (
    choose_rows,
    explained_section,
    measure_explained,
)

TEXTS = ["a cat number 1", "  bank tax\n<b>", "rain $x$", "cat", ""]


@pytest.fixture(scope="module")
def predictor(run_folder) -> Predictor:
    return Predictor.load(run_folder)


@pytest.fixture(scope="module")
def rows(predictor, make_rows):
    """All but the third text are labelled as they are predicted."""
    targets = predictor.probabilities(TEXTS).argmax(axis=1)
    targets[2] = (targets[2] + 1) % 3
    return make_rows(TEXTS, targets.tolist())


@pytest.fixture(scope="module")
def facts(predictor, rows) -> dict:
    return measure_explained(predictor, rows, predictor.probabilities(TEXTS), 2, lime=True)


def test_the_surest_errors_come_first_then_right_ones_of_each_class():
    probabilities = np.array(
        [[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6], [0.99, 0.01], [0.05, 0.95]]
    )
    targets = np.array([0, 0, 1, 0, 1, 0])
    # Wrong: 4 (0.99), 5 (0.95), 3 (0.6). Right: of the first class 0 and 1, of the second 2.
    assert choose_rows(targets, probabilities, 10) == [4, 5, 3, 0, 2, 1]
    assert choose_rows(targets, probabilities, 2) == [4, 5, 0]
    assert choose_rows(targets, probabilities, 3) == [4, 5, 3, 0, 2]
    assert choose_rows(targets, probabilities, 0) == []
    assert choose_rows(probabilities.argmax(axis=1), probabilities, 1) == [4]


def test_facts_are_json_and_say_what_the_words_add(facts, predictor, rows):
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    first = facts["texts"][0]
    predicted = predictor.labels[int(predictor.probabilities(TEXTS)[2].argmax())]
    assert (first["row"], first["prediction"]) == (4, predicted)
    assert first["label"] == predictor.labels[rows.targets[2]] != predicted
    total = sum(weight for *_, weight in first["words"])
    assert total == pytest.approx(first["probability"] - first["baseline"], abs=2e-3)
    assert [word for word, *_ in first["words"]] == ["rain", "$x$"]
    assert facts["largest_gap"] < 1e-3


def test_lime_weighs_the_same_words(facts):
    for one in facts["texts"]:
        assert [word[:3] for word in one["lime"]] == [word[:3] for word in one["words"]]
    assert facts["lime_samples"] == 500


def test_the_section_shows_each_text_whole(facts):
    section = explained_section(facts)
    figures = [figure for figure in section.figures if not figure.name.endswith("-lime")]
    assert len(figures) == len(facts["texts"])
    for figure, one in zip(figures, facts["texts"], strict=True):
        assert "".join(part for part, _ in figure.parts) == one["text"] == TEXTS[one["row"] - 2]
    first = facts["texts"][0]
    assert figures[0].title.startswith(f"Row 4: {first['prediction']} ")
    assert figures[0].title.endswith(f"%, labelled {first['label']}")
    assert "%, rightly" in figures[-1].title
    names = [figure.name for figure in section.figures]
    assert len(set(names)) == len(names)
    assert "<b>" not in render(Report("t", "s", (), "n", (), (section,), "f"))


def test_without_texts_there_is_no_section(predictor, rows):
    facts = measure_explained(predictor, rows, predictor.probabilities(TEXTS), 0)
    assert facts["texts"] == []
    assert explained_section(facts) is None
