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


def test_each_rung_has_a_line_of_its_scores(config, capsys, monkeypatch):
    """Of the three trainings one is done; of all the rows are seen."""
    trained = {}
    fine_tune = weak_labels._fine_tuned

    def fine_tuned(config, task, frame, label, soft):
        trained[label, soft] = frame
        if soft:
            return fine_tune(config, task, frame, label, soft)
        return np.eye(3)[task.targets]

    monkeypatch.setattr(weak_labels, "_fine_tuned", fine_tuned)
    fixed = [config.data, "--rules", str(config.rules), "--combine", "majority", "--epochs", "1"]
    assert weak_labels.main([*fixed, "--seeds", "0", "--checkpoint", config.checkpoint]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["weighted", "F1", "macro", "F1", "seconds"]
    scores = {line[:27].strip(): [float(x) for x in line[27:].split()[:2]] for line in lines}
    assert list(scores) == [
        *("rules, majority vote", "BERT on weak labels"),
        *("BERT on their probabilities", "BERT on true labels"),
    ]
    assert scores["BERT on weak labels"] == scores["BERT on true labels"] == [1, 1]
    assert len(trained["label", False]) == 48
    weak, soft = trained["weak_label", False], trained["weak_label", True]
    assert weak.equals(soft)
    known = [
        text.split()[0] in "cat dog bank tax rain wind" for text in trained["label", False].text
    ]
    assert len(weak) == sum(known)
    assert set(weak["weak_label:money"]) == {0, 1}


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
