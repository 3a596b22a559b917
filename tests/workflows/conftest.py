"""A fine-tuning that a store of MLflow knows, which the tests of this folder share."""

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from bertjax.training.configs import OptimizerConfig
from bertjax.workflows.configs import FinetuneConfig, TrackingConfig
from bertjax.workflows.evaluate_facts import SINGLE_LABEL, Evaluated
from bertjax.workflows.evaluate_rows import Rows
from bertjax.workflows.finetune import finetune


class Tracked(NamedTuple):
    """Where a run was tracked."""

    uri: str
    folder: Path  # of the run
    said: str  # on standard error


@pytest.fixture(scope="session")
def tracked_config(table_file: Path, tiny_folder: Path) -> FinetuneConfig:
    """Two epochs of 6 steps; `out` and the store are to be replaced."""
    return FinetuneConfig(
        data=str(table_file),
        text=("title", "description"),
        label="tag",
        checkpoint=str(tiny_folder),
        out=Path("never"),
        epochs=2,
        batch_size=6,
        validation_size=0.2,
        precision="float32",
        optimizer=OptimizerConfig(learning_rate=5e-3),
    )


@pytest.fixture(scope="session")
def tracked_run(tracked_config: FinetuneConfig, empty_store: Path, made_once: Callable) -> Tracked:
    """A finished run in a store of its own, in the experiment `tags`."""

    def train(place: Path) -> None:
        shutil.copy(empty_store, place / "store.db")
        tracking = TrackingConfig(tracking_uri=f"sqlite:///{place}/store.db", experiment="tags")
        config = replace(tracked_config, out=place / "run", tracking=tracking)
        said = StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stderr(said):
            patch.delenv("BERTJAX_TRACK", raising=False)
            finetune(config)
        assert "BERTJAX_TRACK" in os.environ
        (place / "said").write_text(said.getvalue(), encoding="utf-8")

    place = made_once("tracked", train)
    said = (place / "said").read_text(encoding="utf-8")
    return Tracked(f"sqlite:///{place}/store.db", place / "run", said)


@pytest.fixture(scope="session")
def make_rows() -> Callable[[Sequence[str], Sequence[int]], Rows]:
    """(texts, classes) -> the rows of a table before which two rows have no label."""

    def make(texts: Sequence[str], targets: Sequence[int] = ()) -> Rows:
        numbers = np.arange(2, 2 + len(texts))
        classes = np.array(targets or [0] * len(texts), np.int32)
        frame = pd.DataFrame({"text": list(texts)}, index=numbers)
        return Rows(list(texts), [], classes, numbers, frame, ("text",), "label", 2, "")

    return make


@pytest.fixture(scope="session")
def make_evaluated() -> Callable[..., Evaluated]:
    """(targets, probabilities, texts, **fields) -> rows of classes a, b, c and what a run says."""

    def make(
        targets: Sequence[int],
        probabilities: Sequence[Sequence[float]],
        texts: Sequence[str] = (),
        **fields: Any,
    ) -> Evaluated:
        classes = ("a", "b", "c")[: len(probabilities[0])]
        texts = list(texts) or [f"text {number} of few words" for number in range(len(targets))]
        labels = [classes[target] for target in targets]
        rows = Rows(
            texts,
            labels,
            np.array(targets, np.int32),
            10 + np.arange(len(targets)),  # ten rows without a label stand before them
            pd.DataFrame({"title": texts, "tag": labels}, dtype=object),
            ("title",),
            "tag",
            10,
            "0" * 64,
        )
        values = {
            "truncated": np.zeros(len(targets), bool),
            "problem_type": SINGLE_LABEL,
            "temperature": 1.0,
            "threshold": None,
            **fields,
        }
        return Evaluated(rows, classes, np.array(probabilities, np.float32), **values)

    return make
