import re
from dataclasses import replace

import pytest
from pydantic_core import PydanticCustomError

from bertjax.serving.blank import READ, check_read
from bertjax.serving.predictor import Predictor


def test_nothing_is_refused_that_the_tokenizer_reads(checkpoint):
    blank = [
        character
        for character in map(chr, range(0x10000))
        if not "\ud800" <= character <= "\udfff" and not re.search(READ, character)
    ]
    assert {"\x00", " ", "\n", "\xa0", "\xad", "\u200b", "\u202e", "\ufeff"} <= set(blank)
    ids = checkpoint.tokenizer(blank)["input_ids"]
    assert {len(found) for found in ids} == {2}  # [CLS] and [SEP]


def test_one_character_is_enough():
    assert check_read(" \x00a") == " \x00a"
    with pytest.raises(PydanticCustomError, match="Text should have at least 1 character that"):
        check_read(" \x00", "Text")


@pytest.mark.parametrize("blank", [" ", "\x00", " \n\t\x00", "\u202e", "\u200b", "\xa0\u3000"])
@pytest.mark.parametrize(
    ("path", "body", "where"),
    [
        ("/predict", lambda blank: {"text": blank}, "text"),
        ("/predict", lambda blank: {"texts": ["cat", blank]}, "texts.1"),
        ("/embed", lambda blank: {"text": blank}, "text"),
        ("/explain", lambda blank: {"text": blank}, "text"),
        (
            "/evaluate",
            lambda blank: {"rows": [{"text": blank, "label": "money"}]},
            "rows.0.text",
        ),
    ],
)
def test_a_text_of_which_nothing_is_read_is_refused(blank, path, body, where, server, error_of):
    answer = server.post(path, body(blank))
    assert (answer.status_code, error_of(answer)["code"]) == (422, "invalid")
    assert error_of(answer)["message"] == (
        f"{where}: String should have at least 1 character that is not white space or a control "
        "character"
    )


def test_a_row_needs_something_to_read_in_one_of_its_columns(start_server, checkpoint, error_of):
    run = replace(checkpoint.run, text=("title", "body"))
    with start_server(Predictor(replace(checkpoint, run=run)), warm=False) as server:
        for title, body in (("", ""), (None, None), ("", None), (" ", "\x00"), ("\n", "")):
            row = {"title": title, "body": body, "price": "3"}
            answer = server.post("/predict", {"columns": row})
            assert (answer.status_code, error_of(answer)["code"]) == (422, "invalid")
            assert error_of(answer)["message"].startswith(
                "columns: The text columns should have at least 1 character that is not white"
            )
            rows = [{"title": "", "body": "cat"}, row]
            message = error_of(server.post("/predict", {"columns": rows}))["message"]
            assert message.startswith("columns.1: The text columns should have")
        answer = server.post("/predict", {"columns": {"title": None, "body": "cat"}})
        assert error_of(answer)["code"] == "not_ready"  # nothing is wrong with it
