"""Rows that can be predicted are; the others are told with the reason."""

import json

import numpy as np
import pandas as pd
import pytest

from bertjax.cluster.chunks import Chunk
from bertjax.cluster.labelled import Task, attempt, free_name, label, row_texts
from bertjax.serving.predictor import Predictor

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")


def test_chunks_of_several_files_are_predicted_together(run_folder):
    predictor = Predictor.load(run_folder)
    task = Task(str(run_folder), "float32", ("text",), False)
    first = pd.DataFrame({"text": ["a cat", ["a", "list"], "caf\udce9"], "id": [7, 8, 9]})
    second = pd.DataFrame({"id": [1, 2], "text": [None, "tax"], "row": ["mine", "too"]})
    done = label(
        [Chunk("a.jsonl", 10, first, False), Chunk("b.jsonl", 0, second, True)], task, predictor
    )
    a, b = (found.chunk.table for found in done)
    assert [*a.columns[:5]] == ["text", "id", "file", "row", "prediction"]
    assert a.iloc[0][["id", "file", "row"]].tolist() == [7, "a.jsonl", 10]
    assert b[["row", "row_"]].to_numpy().tolist() == [["mine", 0], ["too", 1]]
    expected = predictor.probabilities(["a cat", "", "tax"])
    columns = [f"probability of {name}" for name in predictor.labels]
    np.testing.assert_allclose(pd.concat([a, b])[columns], expected, atol=1e-5)
    failures = [json.loads(line) for line in done[0].failed]
    assert [(f["file"], f["row"]) for f in failures] == [("a.jsonl", 11), ("a.jsonl", 12)]
    assert failures[0]["reason"] == "the column 'text' holds a list, expected text"
    assert failures[0]["values"] == {"text": ["a", "list"], "id": 8}
    assert failures[1]["reason"] == "the column 'text' holds bytes that are no UTF-8"
    assert failures[1]["values"] == {"text": "caf\\xe9", "id": 9}
    assert done[1].failed == []
    assert [found.chunk.last for found in done] == [False, True]


def test_text_of_other_types():
    frame = pd.DataFrame(
        {"a": ["x", 7, 7.0, None, b"caf\xc3\xa9", b"\xff"], "b": [None, True, 1.5, None, "", ""]},
        dtype=object,
    )
    texts, reasons = row_texts(frame, ["a", "b", "absent"])
    assert texts[:5] == ["x", "7 True", "7 1.5", "", "café"]
    assert reasons[:5] == [""] * 5
    assert "no UTF-8" in reasons[5]


def test_other_columns_must_be_writable_too():
    frame = pd.DataFrame({"text": ["a", "b"], "deep": [["\ud800"], ["fine"]]}, dtype=object)
    assert row_texts(frame, ["text"])[1] == ["the column 'deep' holds bytes that are no UTF-8", ""]


def test_the_text_at_fault_is_found():
    def predict(texts):
        if "bad" in texts:
            raise RuntimeError("no\nsuch word")
        return [{"label": text} for text in texts]

    found = list(attempt(predict, ["a", "bad", "c", "d", "bad"]))
    reason = "the predictor raised RuntimeError: no such word"
    assert found == [{"label": "a"}, reason, {"label": "c"}, {"label": "d"}, reason]


def test_a_lack_of_memory_is_not_the_fault_of_a_text():
    def predict(texts):
        raise MemoryError

    with pytest.raises(MemoryError):
        list(attempt(predict, ["a", "b"]))


def test_a_name_that_is_taken():
    assert free_name("row", ["a"]) == "row"
    assert free_name("row", ["row", "row_"]) == "row__"
