"""What a server answers, as types from which OpenAPI is made."""

from typing import Any, Literal

from pydantic import BaseModel, Field


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
        description="MLflow's id of the run that wrote the folder; null: it was not tracked."
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
