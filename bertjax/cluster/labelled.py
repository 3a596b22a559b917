"""The process that predicts chunks: Ray keeps a pool of them, each with a Predictor."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray

from bertjax.cluster.chunks import Chunk
from bertjax.data.formats import plain
from bertjax.data.sources import text_of
from bertjax.errors import UserError
from bertjax.models.configs import Precision
from bertjax.process import prepare_process

if TYPE_CHECKING:
    import pandas as pd

    from bertjax.serving.predictor import Prediction, Predictor


@dataclass(frozen=True)
class Task:
    """What all chunks have in common."""

    run: str  # folder
    precision: Precision
    columns: tuple[str, ...]  # that hold the text
    only_text: bool  # all cells are text, as in .csv


@dataclass(frozen=True)
class Labelled:
    """What has become of a chunk; its places are those of the chunk."""

    chunk: Chunk  # its table holds the rows that were predicted, with their predictions
    failed: list[str]  # a line of JSON for each of the other rows


@ray.remote(num_cpus=0)
class Starts:
    """Counts how often workers start with nothing done in between: Ray replaces them for ever."""

    def __init__(self):
        self.count = 0

    def add(self) -> int:
        self.count += 1
        return self.count

    def forget(self) -> None:
        self.count = 0


class Labeller:
    """Chunks -> chunks with predictions, as rows of Ray datasets.

    Args:
        starts: an actor of `Starts`.
        most: starts in a row after which there is no use in going on.
    """

    def __init__(self, task: Task, starts: Any, most: int):
        prepare_process()  # before jax is imported
        self.task = task
        self.starts = starts
        self.predictor = self._refusal(most) or self._load()

    def _refusal(self, most: int) -> UserError | None:
        starts: Any = ray.get(self.starts.add.remote())
        if starts <= most:
            return None
        return UserError(
            "workers died again and again before they had done anything, most likely because "
            "the system has no memory left: use fewer --workers, or machines with more"
        )

    def _load(self) -> "Predictor | UserError":
        """What is wrong is kept for the first call: of a failing start Ray does not tell why."""
        from bertjax.serving.predictor import Predictor

        try:
            return Predictor.load(self.task.run, self.task.precision)
        except UserError as error:
            return error

    def __call__(self, batch: "pd.DataFrame") -> "pd.DataFrame":
        import pandas as pd

        if isinstance(self.predictor, UserError):
            raise self.predictor
        chunks = [Chunk.unpack(row) for row in batch.to_dict("records")]
        done = label(chunks, self.task, self.predictor)
        self.starts.forget.remote()
        return pd.DataFrame(
            [{**found.chunk.pack(), "failed": "\n".join(found.failed)} for found in done]
        )


def label(chunks: Sequence[Chunk], task: Task, predictor: "Predictor") -> list[Labelled]:
    """Predict the rows of chunks together; those that cannot be are told with the reason."""
    texts: list[str] = []
    reasons: list[str] = []
    for chunk in chunks:
        found = row_texts(chunk.table, task.columns)
        texts += found[0]
        reasons += found[1]
    good = [i for i, reason in enumerate(reasons) if not reason]
    predictions: list[Any] = [None] * len(texts)
    for i, outcome in zip(good, attempt(predictor, [texts[i] for i in good]), strict=True):
        if isinstance(outcome, str):
            reasons[i] = outcome
        else:
            predictions[i] = outcome
    done, start = [], 0
    for chunk in chunks:
        end = start + len(chunk.table)
        done.append(_joined(chunk, predictions[start:end], reasons[start:end], task, predictor))
        start = end
    return done


def row_texts(frame: "pd.DataFrame", columns: Sequence[str]) -> tuple[list[str], list[str]]:
    """(texts, reasons): of each row either its text, or why it has none."""
    import pandas as pd

    reasons = [""] * len(frame)
    cells = frame.reindex(columns=list(columns)).astype(object)
    for column in columns:
        values = []
        for i, cell in enumerate(cells[column]):
            if isinstance(cell, bytes):
                cell = cell.decode("utf-8", "surrogateescape")
            if hasattr(cell, "__iter__") and not isinstance(cell, str):
                kind = type(cell).__name__
                reasons[i] = reasons[i] or f"the column {column!r} holds a {kind}, expected text"
                cell = ""
            values.append(cell)
        cells[column] = pd.Series(values, dtype=object)  # Arrow's strings hold UTF-8 alone
    for column in {*frame.columns, *columns}:
        for i, cell in enumerate(cells[column] if column in columns else frame[column]):
            if not is_unicode(cell):
                reasons[i] = reasons[i] or f"the column {column!r} holds bytes that are no UTF-8"
    return text_of(cells, columns, "the table"), reasons


def is_unicode(cell: Any) -> bool:
    """Whether a cell can be written as UTF-8."""
    if isinstance(cell, str):
        text = cell
    elif isinstance(cell, list | dict):
        text = json.dumps(plain(cell), ensure_ascii=False)
    else:
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def attempt(
    predict: "Callable[[Sequence[str]], list[Prediction]]", texts: Sequence[str]
) -> "Iterable[Prediction | str]":
    """A prediction a text, or why there is none.

    Where something is raised, each half is tried by itself, down to the text that is at fault.
    """
    from jax.errors import JaxRuntimeError

    if not texts:
        return []
    try:
        return predict(texts)
    except (MemoryError, JaxRuntimeError):  # the fault of the machine, not of a text
        raise
    except Exception as error:
        if len(texts) == 1:
            return [f"the predictor raised {type(error).__name__}: {' '.join(str(error).split())}"]
        middle = len(texts) // 2
        return [*attempt(predict, texts[:middle]), *attempt(predict, texts[middle:])]


def _joined(
    chunk: Chunk,
    predictions: Sequence[Any],
    reasons: Sequence[str],
    task: Task,
    predictor: "Predictor",
) -> Labelled:
    from bertjax.workflows.predict import prediction_columns

    frame, places = chunk.table, range(chunk.first, chunk.first + len(chunk.table))
    good = [i for i, reason in enumerate(reasons) if not reason]
    table = frame.iloc[good]
    if task.only_text:
        table = table.astype("str")  # even where a column has no cell at all
    table = table.assign(
        **{
            free_name("file", frame.columns): chunk.file,
            free_name("row", frame.columns): [places[i] for i in good],
            **prediction_columns([predictions[i] for i in good], predictor.labels),
        }
    )
    bad = [i for i, reason in enumerate(reasons) if reason]
    lines = [
        failed_line(chunk.file, places[i], reasons[i], values)
        for i, values in zip(bad, frame.iloc[bad].to_dict("records"), strict=True)
    ]
    return Labelled(Chunk(chunk.file, chunk.first, table, chunk.last, chunk.error), lines)


def free_name(name: str, taken: Iterable[str]) -> str:
    """The name, followed by as many _ as it takes for no column to have it already."""
    taken = set(taken)
    while name in taken:
        name += "_"
    return name


def failed_line(file: str, row: int, reason: str, values: dict[str, Any]) -> str:
    """What is told of a row that failed; a byte that is no UTF-8 is written as in \\xe9."""
    line = json.dumps(
        {"file": file, "row": row, "reason": reason, "values": plain(values)}, ensure_ascii=False
    )
    return re.sub("[\ud800-\udfff]", _spelled, line)


def _spelled(surrogate: re.Match[str]) -> str:
    code = ord(surrogate[0])
    return f"\\\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\\\u{code:04x}"
