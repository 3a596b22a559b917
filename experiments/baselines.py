"""How far do simple means go? From guessing to a fine-tuned BERT, on the same held-out rows.

    python -m experiments.baselines projects.csv --text title description --label tag

Hardware: 2 cores of an AMD EPYC with AVX512-BF16. On the course's 764 projects, means of 3 seeds:

    rung                                    weighted F1  macro F1  seconds
    any class                                     0.264     0.228      0.0
    the most frequent class                       0.234     0.144      0.0
    rules: a class's name or initials             0.329     0.242      0.0
    TF-IDF, logistic regression                   0.874     0.821      0.6
    frozen embeddings, logistic regression        0.890     0.847      5.0
    fine-tuned BERT                               0.909     0.872     22.7

Each rung is trained and scored on every seed, which draws another stratified split, the one that
`bertjax finetune --seed` makes. Without a table: the embedded sample.
"""

import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tyro

from bertjax.checkpoints.folder import Checkpoint, load
from bertjax.checkpoints.resolve import DEFAULT_CHECKPOINT
from bertjax.data.labels import encode_labels
from bertjax.data.tokens import tokenize
from bertjax.evaluation.scores import classification_scores
from bertjax.process import tune_malloc
from bertjax.workflows.configs import FinetuneConfig, TrackingConfig
from bertjax.workflows.embedding import embed
from bertjax.workflows.finetune import finetune
from bertjax.workflows.prepare import LabelledTable, read_labelled
from experiments.ladder import Line, climb, main_of


@dataclass(frozen=True)
class BaselinesConfig:
    """Scores and times of guessing, rules, word counts, frozen embeddings and a fine-tuned BERT."""

    data: tyro.conf.Positional[str] = "sample"
    """A table, as `bertjax finetune` takes it."""
    text: tuple[str, ...] = ("title", "description")
    """Columns that make the text."""
    label: str = "tag"
    """Column that holds the class."""
    checkpoint: str = DEFAULT_CHECKPOINT
    """Of the embeddings, and from which BERT is fine-tuned."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each draws another split."""
    test_size: float = 0.2
    """Share of the rows that are held out."""
    epochs: int = 2
    """Of the fine-tuning."""


class Task(NamedTuple):
    """The rows of one seed."""

    config: BaselinesConfig
    seed: int
    classes: tuple[str, ...]
    train_texts: list[str]
    train_targets: np.ndarray  # [N] int
    test_texts: list[str]


Prepared = tuple[Task, np.ndarray]  # and the true classes of the test rows [M]
Baseline = Callable[[Task], np.ndarray]  # -> scores of the classes for the test texts [M, C]


def guess(strategy: str) -> Baseline:
    """What needs no text: `uniform`, any class; `most_frequent`, always the same one."""

    def baseline(task: Task) -> np.ndarray:
        from sklearn.dummy import DummyClassifier

        model = DummyClassifier(strategy=strategy, random_state=task.seed)
        model.fit(np.zeros((len(task.train_targets), 1)), task.train_targets)
        # What it says, and not its probabilities, of which those of `uniform` are all the same.
        said = np.asarray(model.predict(np.zeros((len(task.test_texts), 1))))
        return np.eye(len(task.classes))[said]

    return baseline


def rules(task: Task) -> np.ndarray:
    """The class whose name, or its initials, a text has most often; else the most frequent one."""
    patterns = [re.compile(rf"\b(?:{'|'.join(_names(c))})\b", re.IGNORECASE) for c in task.classes]
    shares = np.bincount(task.train_targets, minlength=len(task.classes)) / len(task.train_targets)
    found = [[len(pattern.findall(text)) for pattern in patterns] for text in task.test_texts]
    return np.asarray(found) + shares / 2  # below one match


def _names(label: str) -> list[str]:
    words = re.findall(r"\w+", label.replace("_", " "))
    initials = "".join(word[0] for word in words)
    return [r"\W+".join(map(re.escape, words)), *([initials] if len(words) > 1 else [])]


def word_counts(task: Task) -> np.ndarray:
    """TF-IDF of words and pairs of words, and logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))
    model = make_pipeline(words, LogisticRegression(C=10.0, max_iter=1000))
    model.fit(task.train_texts, task.train_targets)
    return np.asarray(model.predict_proba(task.test_texts))


def frozen_embeddings(checkpoint: Checkpoint) -> Baseline:
    """The checkpoint's mean tokens as they are, and logistic regression."""
    longest = checkpoint.config.max_position_embeddings

    def baseline(task: Task) -> np.ndarray:
        from sklearn.linear_model import LogisticRegression

        train, test = (
            embed(checkpoint, tokenize(checkpoint.tokenizer, texts, longest).ids)
            for texts in (task.train_texts, task.test_texts)
        )
        model = LogisticRegression(C=10.0, max_iter=1000).fit(train, task.train_targets)
        return np.asarray(model.predict_proba(test))

    return baseline


def tasks(config: BaselinesConfig) -> list[Prepared]:
    """The rows of each seed, and the true classes of those that are held out.

    Raises:
        UserError: the table cannot be read or split.
    """
    found = []
    for seed in config.seeds:
        table: LabelledTable = read_labelled(
            config.data, config.text, config.label, config.test_size, 0.0, seed
        )
        targets = encode_labels(table.labels, table.classes)
        texts = np.asarray(table.table.texts, object)
        train, test = table.train, table.test
        rows = texts[train].tolist(), targets[train], texts[test].tolist()
        found.append((Task(config, seed, table.classes, *rows), targets[test]))
    return found


def fine_tuned(task: Task) -> dict[str, float]:
    """The scores of `bertjax finetune` with its defaults."""
    config = task.config
    with tempfile.TemporaryDirectory() as folder:
        settings = FinetuneConfig(
            data=config.data,
            text=config.text,
            label=config.label,
            checkpoint=config.checkpoint,
            out=Path(folder, "run"),
            seed=task.seed,
            test_size=config.test_size,
            epochs=config.epochs,
            tracking=TrackingConfig(track=False),
        )
        return finetune(settings, verbose=False).scores


def run(config: BaselinesConfig) -> list[Line]:
    """A line a rung, of means over the seeds.

    Raises:
        UserError: the table or the checkpoint cannot be read.
    """
    prepared = tasks(config)
    checkpoint = load(config.checkpoint, "feature-extraction", allow=("classifier.*", "cls.*"))

    def scored(baseline: Baseline) -> Callable[[Prepared], dict[str, Any]]:
        def score(prepared: Prepared) -> dict[str, Any]:
            task, truth = prepared
            return classification_scores(truth, baseline(task), task.classes)

        return score

    rungs = {
        "any class": scored(guess("uniform")),
        "the most frequent class": scored(guess("most_frequent")),
        "rules: a class's name or initials": scored(rules),
        "TF-IDF, logistic regression": scored(word_counts),
        "frozen embeddings, logistic regression": scored(frozen_embeddings(checkpoint)),
        "fine-tuned BERT": lambda prepared: fine_tuned(prepared[0]),
    }
    return climb(rungs, prepared, "baselines")


def main(arguments: Sequence[str] | None = None) -> int:
    return main_of("baselines", BaselinesConfig, run, arguments)


if __name__ == "__main__":
    tune_malloc()
    sys.exit(main())
