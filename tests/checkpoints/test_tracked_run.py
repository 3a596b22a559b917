"""The run of MLflow that a folder names."""

import pytest

from bertjax.checkpoints.tracked_run import NAME, read_run_id, write_run_id

IN_STORE = "flavors:\n  x: y\nmodel_id: null\nrun_id: 0a1b2c3d\n"


def test_what_was_noted_is_read(tmp_path):
    assert read_run_id(tmp_path) is None
    write_run_id(tmp_path, "12ab")
    assert read_run_id(tmp_path) == "12ab"


def test_a_folder_of_the_store_is_told_by_the_store(tmp_path):
    (tmp_path / "MLmodel").write_text(IN_STORE)
    assert read_run_id(tmp_path) == "0a1b2c3d"


@pytest.mark.parametrize("text", ["", "[]", "{}", "{", '{"run_id": 3}', "null"])
def test_a_damaged_note_is_none(tmp_path, text):
    (tmp_path / NAME).write_text(text)
    assert read_run_id(tmp_path) is None
