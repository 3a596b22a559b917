"""How far do rules go without a single label? Models of weak labels beside one of true labels.

    python -m experiments.weak_labels projects.csv --text title description --label tag

Hardware: 2 cores of an AMD EPYC with AVX512-BF16. On the course's 764 projects, means of 3 seeds:

    rung                         weighted F1  macro F1  seconds
    rules, majority vote               0.780     0.771      0.0
    rules, label model                 0.819     0.802      1.1
    BERT on weak labels                0.861     0.841     22.4
    BERT on their probabilities        0.876     0.854     21.4
    BERT on true labels                0.909     0.872     25.6

Rules vote on the rows to train on, and no true label of these is used but for the last line. All
are scored by the true labels of the same held-out rows, those of `bertjax finetune --seed`. Where
no rule votes, or the votes tie, rules alone say the class that is most frequent among their own
labels. Without a table: the embedded sample.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tyro

from bertjax.checkpoints.resolve import DEFAULT_CHECKPOINT
from bertjax.data.formats import write_file
from bertjax.data.labels import encode_labels
from bertjax.data.weak_labels import (
    ABSTAIN,
    Votes,
    apply_rules,
    check_classes,
    fit_label_model,
    majority_vote,
    weak_labels,
)
from bertjax.evaluation.scores import classification_scores
from bertjax.process import tune_malloc
from bertjax.serving.predictor import Predictor
from bertjax.workflows.configs import FinetuneConfig, TrackingConfig
from bertjax.workflows.finetune import finetune
from bertjax.workflows.label import LABEL, read_rules, rows_of, with_weak_labels
from bertjax.workflows.label_configs import Combine
from bertjax.workflows.prepare import read_labelled
from experiments.ladder import Line, climb, main_of

if TYPE_CHECKING:
    import pandas as pd

RULES = Path(__file__).parent / "rules" / "projects.py"


@dataclass(frozen=True)
class WeakLabelsConfig:
    """Scores of rules, of a BERT fine-tuned on what they say, and of one on true labels."""

    data: tyro.conf.Positional[str] = "sample"
    """A table, as `bertjax finetune` takes it."""
    text: tuple[str, ...] = ("title", "description")
    """Columns that make the text."""
    label: str = "tag"
    """Column that holds the true class."""
    rules: Path = RULES
    """A file of rules, as `bertjax label` takes it."""
    combine: Combine = "label-model"
    """How their votes become probabilities, as of `bertjax label`."""
    checkpoint: str = DEFAULT_CHECKPOINT
    """From which BERT is fine-tuned."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each draws another split."""
    test_size: float = 0.2
    """Share of the rows that are held out."""
    epochs: int = 2
    """Of each fine-tuning."""


class Task(NamedTuple):
    """The rows of one seed."""

    seed: int
    classes: tuple[str, ...]  # of the true labels
    train: list[str]  # texts
    test: list[str]
    train_truth: list[str]
    targets: np.ndarray  # true classes of the test rows [M] int
    votes: Votes  # on the rows to train on, and behind them on the test rows


class Weak(NamedTuple):
    """What is made of votes."""

    probabilities: np.ndarray  # [N, C] of the rules' classes, of all rows
    labels: np.ndarray  # [N] int, -1 for none


Rung = Callable[[Task], np.ndarray]  # -> scores of the true classes for the test texts [M, C]


def tasks(config: WeakLabelsConfig) -> list[Task]:
    """The rows of each seed, with the votes.

    Raises:
        UserError: the table or the rules cannot be read, or do not fit each other.
    """
    import pandas as pd

    rules, declared = read_rules(config.rules)
    found = []
    for seed in config.seeds:
        table = read_labelled(config.data, config.text, config.label, config.test_size, 0.0, seed)
        train, test = (
            [table.table.texts[i] for i in rows.tolist()] for rows in (table.train, table.test)
        )
        texts = [*train, *test]
        frame = pd.DataFrame({"text": texts})
        votes = apply_rules(rules, rows_of(frame, texts, ["text"]), declared)
        check_classes(votes)
        encode_labels(votes.classes, table.classes)  # refuses what the table does not know
        truth = [[table.labels[i] for i in rows.tolist()] for rows in (table.train, table.test)]
        targets = encode_labels(truth[1], table.classes)
        found.append(Task(seed, table.classes, train, test, truth[0], targets, votes))
    return found


def combined(task: Task, combine: Combine) -> Weak:
    """By votes on the rows to train on alone; those on test rows are only weighed."""
    votes, classes = task.votes.matrix, len(task.votes.classes)
    if combine == "majority":
        probabilities = majority_vote(votes, classes)
    else:
        model = fit_label_model(votes[: len(task.train)], classes, task.seed)
        probabilities = model.probabilities(votes)
    return Weak(probabilities, weak_labels(votes, probabilities))


def rules_alone(combine: Combine) -> Rung:
    """What the rules say of the test rows, without a model of texts."""

    def rung(task: Task) -> np.ndarray:
        weak = combined(task, combine)
        train, test = weak.labels[: len(task.train)], weak.labels[len(task.train) :]
        frequent = np.bincount(train[train != ABSTAIN]).argmax()
        said = np.where(test == ABSTAIN, frequent, test)
        return _aligned(np.eye(len(task.votes.classes))[said], task.votes.classes, task.classes)

    return rung


def on_weak_labels(config: WeakLabelsConfig, soft: bool) -> Rung:
    """A BERT that was fine-tuned on the weak labels of the rows to train on."""

    def rung(task: Task) -> np.ndarray:
        import pandas as pd

        weak = combined(task, config.combine)
        labels = weak.labels[: len(task.train)]
        frame = with_weak_labels(
            pd.DataFrame({"text": task.train}),
            task.votes.classes,
            labels,
            weak.probabilities[: len(task.train)],
        )
        frame = frame.take(np.flatnonzero(labels != ABSTAIN))
        return _fine_tuned(config, task, frame, LABEL, soft)

    return rung


def on_true_labels(config: WeakLabelsConfig) -> Rung:
    """A BERT that was fine-tuned on the true labels of the rows to train on."""

    def rung(task: Task) -> np.ndarray:
        import pandas as pd

        frame = pd.DataFrame({"text": task.train, "label": task.train_truth})
        return _fine_tuned(config, task, frame, "label", False)

    return rung


def _fine_tuned(
    config: WeakLabelsConfig, task: Task, frame: "pd.DataFrame", label: str, soft: bool
) -> np.ndarray:
    """Probabilities of the true classes for the test texts."""
    with tempfile.TemporaryDirectory() as folder:
        write_file(frame, Path(folder, "train.csv"))
        settings = FinetuneConfig(
            data=f"{folder}/train.csv",
            label=label,
            soft_labels=soft,
            checkpoint=config.checkpoint,
            out=Path(folder, "run"),
            seed=task.seed,
            test_size=0.0,
            epochs=config.epochs,
            tracking=TrackingConfig(track=False),
        )
        finetune(settings, verbose=False)
        predictor = Predictor.load(settings.out)
        return _aligned(predictor.probabilities(task.test), predictor.labels, task.classes)


def _aligned(scores: np.ndarray, names: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Scores [M, c] of the classes `names`, as scores [M, C]; other classes have 0."""
    found = np.zeros((len(scores), len(classes)))
    found[:, encode_labels(list(names), classes)] = scores
    return found


def run(config: WeakLabelsConfig) -> list[Line]:
    """A line a rung, of means over the seeds.

    Raises:
        UserError: the table, the rules or the checkpoint cannot be read.
    """
    prepared = tasks(config)
    rungs: dict[str, Rung] = {"rules, majority vote": rules_alone("majority")}
    if config.combine != "majority":
        rungs["rules, label model"] = rules_alone(config.combine)
    rungs["BERT on weak labels"] = on_weak_labels(config, soft=False)
    rungs["BERT on their probabilities"] = on_weak_labels(config, soft=True)
    rungs["BERT on true labels"] = on_true_labels(config)
    return climb({name: scored(rung) for name, rung in rungs.items()}, prepared, "weak labels")


def scored(rung: Rung) -> Callable[[Task], dict[str, Any]]:
    """A rung that gives its scores."""
    return lambda task: classification_scores(task.targets, rung(task), task.classes)


def main(arguments: Sequence[str] | None = None) -> int:
    return main_of("weak_labels", WeakLabelsConfig, run, arguments)


if __name__ == "__main__":
    tune_malloc()
    sys.exit(main())
