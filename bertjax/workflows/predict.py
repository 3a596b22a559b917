"""The workflow of `bertjax predict`: a run folder and texts to predictions."""

from collections.abc import Callable, Sequence
from typing import Any

from bertjax.data.formats import check_writable, write_file
from bertjax.data.sources import read_frame, text_of
from bertjax.errors import UserError
from bertjax.serving.predictor import Prediction, Predictor
from bertjax.workflows.configs import PredictConfig
from bertjax.workflows.named_run import run_folder


def predict(config: PredictConfig, say: Callable[[str], None] | None = None) -> list[Prediction]:
    """The predictions of the texts, or of the rows of the table; these are written to `out`.

    `say` is told how the texts of a table are packed.

    `out` holds the columns of `data`, then `prediction`, `score`, a `probability of CLASS` for
    each class, and `truncated`.

    Raises:
        UserError: the run or the table cannot be read, or `out` cannot be written.
    """
    config.check()
    if bool(config.text) == bool(config.data):
        raise UserError(
            'give texts (--text "...") or a table (--data FILE --out FILE), one of both'
        )
    if not config.data:
        folder = run_folder(config.run, config.tracking_uri)
        return Predictor.load(folder, config.precision)(config.text)

    if config.out is None:
        raise UserError("say where the predictions of --data go: --out FILE")
    check_writable(config.out, config.overwrite)
    folder = run_folder(config.run, config.tracking_uri)
    frame = read_frame(config.data)
    predictor = Predictor.load(folder, config.precision)
    texts = text_of(frame, config.columns or predictor.run.text, config.data)
    predictions = predictor(texts, say)
    write_file(frame.assign(**prediction_columns(predictions, predictor.labels)), config.out)
    return predictions


def prediction_columns(
    predictions: Sequence[Prediction], labels: Sequence[str]
) -> dict[str, list[Any]]:
    """The columns that are written beside those of a table, in their order."""
    return {
        "prediction": [p["prediction"] for p in predictions],
        "score": [p["score"] for p in predictions],
        **{
            f"probability of {label}": [p["probabilities"][label] for p in predictions]
            for label in labels
        },
        "truncated": [p["truncated"] for p in predictions],
    }
