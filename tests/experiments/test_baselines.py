"""The ladder from guessing to BERT, on a table whose answers are known."""

from collections.abc import Callable

import numpy as np
import pytest

from experiments import baselines
from experiments.baselines import BaselinesConfig, Task


@pytest.fixture
def task() -> Task:
    texts = ["a tax on euro", "no computer vision here", "CV and cv", "computer VISION, graphs"]
    return Task(
        config=BaselinesConfig(),
        seed=0,
        classes=("computer-vision", "other"),
        train_texts=["image", "a bank tax", "euro tax"],
        train_targets=np.array([0, 1, 1]),
        test_texts=texts,
    )


def chosen(baseline: Callable[[Task], np.ndarray], task: Task) -> list[int]:
    scores = baseline(task)
    assert scores.shape == (4, 2)
    return scores.argmax(axis=1).tolist()


def test_the_most_frequent_class_is_always_the_same(task):
    assert chosen(baselines.guess("most_frequent"), task) == [1, 1, 1, 1]


def test_any_class_is_another_one_each_time(task):
    many = task._replace(test_texts=["a"] * 200)
    chosen = baselines.guess("uniform")(many).argmax(axis=1)
    assert 60 < chosen.sum() < 140


def test_rules_look_for_names_and_initials_and_else_take_the_most_frequent_class(task):
    assert chosen(baselines.rules, task) == [1, 0, 0, 0]


def test_a_class_of_one_word_has_no_initials(task):
    assert baselines._names("other") == ["other"]
    assert baselines._names("computer_vision") == [r"computer\W+vision", "cv"]
    assert chosen(baselines.rules, task._replace(test_texts=["o", "cvs", "xcv", "euro"])) == [1] * 4


def test_word_counts_learn_words(task):
    assert chosen(baselines.word_counts, task)[0] == 1


def test_each_rung_has_a_line_of_its_scores(table_file, tiny_folder, capsys):
    arguments = [str(table_file), "--checkpoint", str(tiny_folder), "--seeds", "0", "1"]
    assert baselines.main([*arguments, "--epochs", "1"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["weighted", "F1", "macro", "F1", "seconds"]
    scores = {line[:38].strip(): [float(x) for x in line[38:].split()] for line in lines}
    assert len(scores) == 6
    # Three classes of 20 rows: 4 of each are held out, and no word is of two classes.
    assert scores["the most frequent class"][:2] == [0.167, 0.167]
    assert scores["rules: a class's name or initials"][:2] == [0.167, 0.167]
    assert scores["TF-IDF, logistic regression"][:2] == [1.0, 1.0]
    assert all(0 <= value <= 1 for row in scores.values() for value in row[:2])


def test_a_table_that_is_not_there_is_one_line(capsys):
    assert baselines.main(["no-such.csv"]) == 2
    shown = capsys.readouterr().err
    assert "no-such.csv" in shown.splitlines()[-1]
    assert shown.splitlines()[-1].startswith("experiments.baselines: ")
