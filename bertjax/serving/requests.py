"""What a server takes, as types from which OpenAPI is made.

What a request may hold depends on the model that is served (its text columns and labels) and on the
server's limits, so the types are made for each server.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
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
FORMS = frozenset(f"<{kind}>" for kind in (*_KINDS, "row", "rows"))  # no field's name
_EXPECTED = "give a JSON object with {}, and the header Content-Type: application/json"
_NAMES = 10  # of an object, of which no more than two are known


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _has_few_names(cls, value: Any) -> Any:
        """Refuse many unknown names by one error: by one each, all requests wait for seconds."""
        if isinstance(value, dict) and len(value) > _NAMES:
            most = {"most": _NAMES}
            raise PydanticCustomError("names", "Object should have at most {most} names", most)
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
    text = (Annotated[str, sizes, Read()], Field(examples=[EXAMPLE]))
    label = (Literal[tuple(labels)], Field(examples=[labels[0]]))
    one = _request("Text", "One text.", text=text)
    labelled = _request("LabelledText", "A text and its class.", text=text, label=label)
    rows = (_many(labelled, limits), ...)
    return Requests(
        texts=_texts_type(one, text[0], limits, columns),
        explain=_object_with("text", one),
        evaluate=_object_with("rows", _request("LabelledTexts", "Texts to score.", rows=rows)),
    )


def _request(name: str, doc: str, **fields: Any) -> Any:
    """A type of JSON objects, for each field its type and what OpenAPI says of it."""
    return _create(name, __base__=_Request, __doc__=doc, **fields)


def _many(kind: Any, limits: Limits) -> Any:
    return Annotated[list[kind], Field(min_length=1, max_length=limits.max_texts)]


def _texts_type(one: Any, text: Any, limits: Limits, columns: Sequence[str]) -> Any:
    """One text, several, or rows of a table."""
    examples = [[EXAMPLE, "Rolling back a model"]]
    texts = (_many(text, limits), Field(examples=examples))
    several = _request("Texts", "Several texts.", texts=texts)
    cells = (_table_type(limits, columns), Field(examples=[dict.fromkeys(columns, EXAMPLE)]))
    doc = "A row of a table, or several, of which the text columns are joined."
    rows = _request("Columns", doc, columns=cells)
    forms = {"<text>": one, "<texts>": several, "<columns>": rows}
    return _one_of(forms, _kind, _EXPECTED.format("one of text, texts and columns"))


def _table_type(limits: Limits, columns: Sequence[str]) -> Any:
    """A row of text columns, or a list of them."""
    row = _row_type(limits, columns)
    forms = {"<row>": row, "<rows>": _many(row, limits)}
    expected = (
        f"give a row of the text columns {', '.join(columns)}, or a list of 1 to "
        f"{limits.max_texts} such rows"
    )
    return _one_of(forms, _rows_kind, expected)


def _row_type(limits: Limits, columns: Sequence[str]) -> Any:
    cell: Any = Annotated[str, StringConstraints(max_length=limits.max_characters)]
    readable: Any = [
        {"properties": {name: {"type": "string", "pattern": READ}}} for name in columns
    ]
    return _create(
        "Row",
        __config__=ConfigDict(extra="ignore", json_schema_extra={"anyOf": readable}),
        __doc__="A cell for each text column; null where it is empty. Others are not read.",
        __validators__={"check": model_validator(mode="after")(_check_row)},
        # Any name may be a column's, also one that a model has for itself.
        **{f"column_{i}": (cell | None, Field(alias=name)) for i, name in enumerate(columns)},
    )


def _one_of(forms: dict[str, Any], kind: Any, expected: str) -> Any:
    """The union of forms by their tags; what is none of them is refused by what is expected."""
    tagged: list[Any] = [Annotated[form, Tag(tag)] for tag, form in forms.items()]
    chosen = Discriminator(kind, custom_error_type="kind", custom_error_message=expected)
    return Annotated[reduce(or_, tagged), chosen]


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
        return next((f"<{kind}>" for kind in _KINDS if kind in value), None)
    return next((f"<{kind}>" for kind in _KINDS if hasattr(value, kind)), None)


def _rows_kind(value: Any) -> str | None:
    """Whether one row is given or several; None: none."""
    if isinstance(value, list):
        return "<rows>" if value else None
    return "<row>" if value and not isinstance(value, str | int | float) else None


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
