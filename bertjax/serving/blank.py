"""Texts of which nothing is read: all of them would get the prediction of the empty text."""

import re
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

# A character that is none of those which BERT's tokenizer drops or splits at: white space, control
# characters, what is invisible (soft hyphens, marks of direction, of width 0), private ones. For
# Python and for ECMA 262, which OpenAPI has.
READ = (
    r"[^\s\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f"
    r"\ue000-\uf8ff\ufeff\ufff9-\ufffb\ufffd]"
)
_READ = re.compile(READ)
_EXPECTED = "at least 1 character that is not white space or a control character"


def check_read(text: str, what: str = "String") -> str:
    """The text. PydanticCustomError: nothing of it is read."""
    if not _READ.search(text):
        raise PydanticCustomError("blank", f"{what} should have {_EXPECTED}")  # type: ignore[arg-type]
    return text


class Read:
    """Metadata of a type of str: something of it is read."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(check_read, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "pattern": READ}
