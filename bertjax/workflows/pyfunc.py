"""A run folder as a model of MLflow: a table of texts in, a table of predictions out.

MLflow finds this module by its name in the file MLmodel, and calls `_load_pyfunc`; so it needs
neither a pickle nor a copy of this code beside the weights.
"""

from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertjax.checkpoints.folder import read_config
from bertjax.checkpoints.run_file import RunFile
from bertjax.data.sources import text_of
from bertjax.serving.predictor import Predictor
from bertjax.workflows.predict import prediction_columns

if TYPE_CHECKING:
    import pandas as pd


class TextClassifier:
    """What MLflow calls."""

    def __init__(self, predictor: Predictor):
        self._predictor = predictor

    def predict(self, model_input: "pd.DataFrame", params: dict | None = None) -> "pd.DataFrame":
        """A row a text: prediction, score, the probability of each class, truncated.

        Args:
            model_input: the text columns that the run was trained on, in any order.
            params: MLflow's; there are none.
        """
        import pandas as pd

        predictor = self._predictor
        texts = text_of(model_input, predictor.run.text, "the table")
        columns = prediction_columns(predictor(texts), predictor.labels)
        return pd.DataFrame(columns, index=model_input.index)


def _load_pyfunc(path: str) -> TextClassifier:
    """Called by MLflow with the folder of the model, which is a run folder."""
    return TextClassifier(Predictor.load(path))


def describe(run: RunFile, folder: Path) -> dict[str, Any]:
    """What MLflow is to know of the model of a run folder: see `tracking.finished`."""
    labels = read_config(folder).id2label
    return {
        "loader": __name__,
        "inputs": dict.fromkeys(run.text, "string"),
        "outputs": {
            "prediction": "string",
            "score": "double",
            **{f"probability of {label}": "double" for label in labels},
            "truncated": "boolean",
        },
        # Made up: rows of a table are not for everybody who may see the model.
        "example": {column: f"A text for the column {column}" for column in run.text},
        "requirements": [f"bertjax=={metadata.version('bertjax')}", "pandas>=2.2"],
    }
