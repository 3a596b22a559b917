"""Rules beside models, on a table whose answers are known."""

from pathlib import Path

import numpy as np
import pytest

from experiments import weak_labels
from experiments.weak_labels import RULES, WeakLabelsConfig

# Of the fixture's table each class has three words, and one of them is known to no rule.
WORDS = """
def knows(word, label):
    return lambda row: label if word in row.text.split()[:1] else None

rule_cat, rule_dog = knows("cat", "animals"), knows("dog", "animals")
rule_bank, rule_tax = knows("bank", "money"), knows("tax", "money")
rule_rain, rule_wind = knows("rain", "weather"), knows("wind", "weather")
"""


@pytest.fixture
def config(table_file: Path, tiny_folder: Path, tmp_path: Path) -> WeakLabelsConfig:
    path = tmp_path / "rules.py"
    path.write_text(WORDS, encoding="utf-8")
    return WeakLabelsConfig(
        data=str(table_file),
        rules=path,
        combine="majority",
        checkpoint=str(tiny_folder),
        seeds=(0,),
        epochs=1,
    )


def test_rules_alone_guess_the_most_frequent_of_their_classes(config):
    (task,) = weak_labels.tasks(config)
    assert (len(task.train), len(task.test)) == (48, 12)
    known = [text.split()[0] in "cat dog bank tax rain wind" for text in task.test]
    said = weak_labels.rules_alone("majority")(task).argmax(axis=1)
    right = said == task.targets
    assert right[known].all()
    assert len(set(said[~np.array(known)])) <= 1


def test_each_rung_has_a_line_of_its_scores(config, capsys):
    fixed = [config.data, "--rules", str(config.rules), "--combine", "majority", "--epochs", "1"]
    assert weak_labels.main([*fixed, "--seeds", "0", "--checkpoint", config.checkpoint]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["weighted", "F1", "macro", "F1", "seconds"]
    names = [line[:26].strip() for line in lines]
    assert names == [
        "rules, majority vote",
        "BERT on weak labels",
        "BERT on their probabilities",
        "BERT on true labels",
    ]
    scores = [[float(x) for x in line[27:].split()] for line in lines]
    assert all(0 <= value <= 1 for row in scores for value in row[:2])


def test_rules_that_do_not_fit_the_table_are_one_line(config, capsys):
    config.rules.write_text(WORDS.replace("weather", "sport"), encoding="utf-8")
    fixed = [config.data, "--rules", str(config.rules), "--combine", "majority"]
    assert weak_labels.main(fixed) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("experiments.weak_labels: 1 of 3 rows carry labels never seen")


def test_the_rules_for_projects_are_twenty_of_four_classes():
    from bertjax.workflows.label import read_rules

    rules, declared = read_rules(RULES)
    assert (len(rules), declared) == (20, None)
    texts = {
        "Detecting faces in videos": {"computer-vision"},
        "A chatbot that answers questions on documents": {"natural-language-processing"},
        "Deploy with Docker and monitor drift": {"mlops"},
        "Forecasting time series": {"other"},
        "": set(),
    }

    class Row:
        text = ""

    for text, expected in texts.items():
        Row.text = text
        assert {rule(Row) for rule in rules.values()} - {None} == expected
