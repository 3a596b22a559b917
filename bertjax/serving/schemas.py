"""What a server takes and answers, as types from which OpenAPI is made.

What a request may hold depends on the model that is served (its text columns and labels) and on the
server's limits, so those types are made for each server.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    create_model,
    model_validator,
)
from pydantic_core import PydanticCustomError

from bertjax.serving.blank import READ, Read, check_read
from bertjax.serving.settings import Limits

EXAMPLE = "Segmenting tumours in CT scans with a small U-Net"
_create: Any = create_model  # its types are those of fields that are known beforehand
_KINDS = ("text", "texts", "columns")
_EXPECTED = "give a JSON object with {}, and the header Content-Type: application/json"
_NAMES = 10  # of an object, of which no more than two are known


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _has_few_names(cls, value: Any) -> Any:
        """Refuse many unknown names by one error: by one each, all requests wait for seconds."""
        if isinstance(value, dict) and len(value) > _NAMES:
            raise PydanticCustomError("extra_forbidden", "Extra inputs are not permitted")
        return value


@dataclass(frozen=True)
class Requests:
    """The types of what one server takes."""

    texts: Any  # of /predict and /embed: text, texts or columns
    explain: Any
    evaluate: Any


def request_types(limits: Limits, columns: Sequence[str], labels: Sequence[str]) -> Requests:
    """The types of requests to a model that was trained on `columns` and knows `labels`."""
    sizes = StringConstraints(min_length=1, max_length=limits.max_characters)
    text: Any = Annotated[str, sizes, Read()]
    cell: Any = Annotated[str, StringConstraints(max_length=limits.max_characters)]
    readable: Any = [
        {"properties": {name: {"type": "string", "pattern": READ}}} for name in columns
    ]
    row = _create(
        "Row",
        __config__=ConfigDict(extra="ignore", json_schema_extra={"anyOf": readable}),
        __doc__="A cell for each text column; null where it is empty. Others are not read.",
        __validators__={"check": model_validator(mode="after")(_check_row)},
        **{f"column_{i}": (cell | None, Field(alias=name)) for i, name in enumerate(columns)},
    )

    def many(kind: Any) -> Any:
        return Annotated[list[kind], Field(min_length=1, max_length=limits.max_texts)]

    one = _create(
        "Text",
        __base__=_Request,
        __doc__="One text.",
        text=(text, Field(examples=[EXAMPLE])),
    )
    several = _create(
        "Texts",
        __base__=_Request,
        __doc__="Several texts.",
        texts=(many(text), Field(examples=[[EXAMPLE, "Rolling back a model"]])),
    )
    table: Any = Annotated[
        Annotated[row, Tag("row")] | Annotated[many(row), Tag("rows")],
        Discriminator(
            _rows_kind,
            custom_error_type="kind",
            custom_error_message=f"give a row of the text columns {', '.join(columns)}, or a list "
            f"of 1 to {limits.max_texts} such rows",
        ),
    ]
    rows = _create(
        "Columns",
        __base__=_Request,
        __doc__="A row of a table, or several, of which the text columns are joined.",
        columns=(table, Field(examples=[dict.fromkeys(columns, EXAMPLE)])),
    )
    labelled = _create(
        "LabelledText",
        __base__=_Request,
        __doc__="A text and its class.",
        text=(text, Field(examples=[EXAMPLE])),
        label=(Literal[tuple(labels)], Field(examples=[labels[0]])),
    )
    evaluate = _create(
        "LabelledTexts", __base__=_Request, __doc__="Texts to score.", rows=(many(labelled), ...)
    )
    return Requests(
        texts=Annotated[
            Annotated[one, Tag("text")]
            | Annotated[several, Tag("texts")]
            | Annotated[rows, Tag("columns")],
            Discriminator(
                _kind,
                custom_error_type="kind",
                custom_error_message=_EXPECTED.format("one of text, texts and columns"),
            ),
        ],
        explain=_object_with("text", one),
        evaluate=_object_with("rows", evaluate),
    )


def _object_with(field: str, model: Any) -> Any:
    """A model, of which anything but an object is refused with what is expected."""

    def check(value: Any) -> Any:
        if not isinstance(value, dict | model):
            raise PydanticCustomError("kind", _EXPECTED.format(field))  # type: ignore[arg-type]
        return value

    return Annotated[model, BeforeValidator(check)]


def _kind(value: Any) -> str | None:
    """Which of the forms a request has, before it is checked."""
    if isinstance(value, dict):
        return next((kind for kind in _KINDS if kind in value), None)
    return next((kind for kind in _KINDS if hasattr(value, kind)), None)


def _rows_kind(value: Any) -> str | None:
    """Whether one row is given or several; None: none."""
    if isinstance(value, list):
        return "rows" if value else None
    return "row" if value and not isinstance(value, str | int | float) else None


def texts_of(request: Any) -> list[str]:
    """The texts of a request of any form."""
    if hasattr(request, "text"):
        return [request.text]
    if hasattr(request, "texts"):
        return request.texts
    rows = request.columns if isinstance(request.columns, list) else [request.columns]
    return [_joined(row) for row in rows]


def _joined(row: Any) -> str:
    return " ".join(filter(None, dict(row).values()))


def _check_row(row: Any) -> Any:
    check_read(_joined(row), "The text columns")
    return row


class Error(BaseModel):
    """Why there is no answer."""

    code: str = Field(description="One word for programs.", examples=["invalid"])
    message: str = Field(description="One line for people.")
    request_id: str = Field(description="As in the header X-Request-ID and in the server's log.")


class ErrorAnswer(BaseModel):
    error: Error


class Status(BaseModel):
    status: Literal["live", "ready"]


class PredictionAnswer(BaseModel):
    """What is predicted of a text."""

    prediction: str = Field(
        description="The label, or the fallback label where its score is under the threshold."
    )
    label: str = Field(description="The most probable class.")
    score: float = Field(description="The probability of the label.")
    probabilities: dict[str, float] = Field(description="Of every class.")
    truncated: bool = Field(description="Whether the text was longer than what was read of it.")
    windows: int = Field(description="Pieces of the text, of which the logits were averaged.")


class PredictAnswer(BaseModel):
    model: str = Field(
        description="The id of the model, which changes with any of its files. Where there are "
        "two, it asks for the same one as the header X-Model of another request."
    )
    predictions: list[PredictionAnswer] = Field(description="In the order of the texts.")


class EmbedAnswer(BaseModel):
    model: str
    embeddings: list[list[float]] = Field(description="Of length 1, in the order of the texts.")


class WordAnswer(BaseModel):
    text: str
    start: int = Field(description="Where it begins, in characters of the text.")
    end: int
    weight: float = Field(
        description="What the label's probability loses without the word; below zero: gains."
    )


class ExplainAnswer(BaseModel):
    model: str
    prediction: PredictionAnswer
    words: list[WordAnswer] = Field(description="Those that are read, or groups of them.")
    words_at_once: int = Field(description="In a group: a long text is not read once a word.")


class ClassScores(BaseModel):
    precision: float
    recall: float
    f1: float
    support: int


class EvaluateAnswer(BaseModel):
    model: str
    accuracy: float
    weighted_precision: float
    weighted_recall: float
    weighted_f1: float
    macro_precision: float
    macro_recall: float
    macro_f1: float
    support: int = Field(description="Rows.")
    per_class: dict[str, ClassScores]
    confusion_matrix: list[list[int]] = Field(description="Rows true, columns predicted.")
    labels: list[str] = Field(description="Of the rows and columns of the confusion matrix.")
    truncated: int = Field(description="Texts that were cut.")


class ModelAnswer(BaseModel):
    """What is served."""

    model: str = Field(description="The id, which changes with any of the model's files.")
    name: str = Field(description="Of the run folder.")
    run_id: str | None = Field(
        description="Of MLflow, where the folder is one of its store; else null."
    )
    checkpoint: str | None = Field(description="What the fine-tuning started from.")
    labels: list[str]
    problem: str = Field(description="single_label_classification, for example.")
    threshold: float | None = Field(description="A score under it is answered by the fallback.")
    fallback: str
    text_columns: list[str]
    max_length: int = Field(description="Tokens of a text, or of a window of it, that are read.")
    long_texts: Literal["truncate", "windows"]
    precision: str
    parameters: int
    versions: dict[str, str] = Field(description="Of what trained it, and of what serves it.")
    scores: dict[str, Any] = Field(description="On the held-out rows of its training.")
    others: dict[str, str] = Field(
        default={}, description="Id and name of a model that answers a share of the requests."
    )
