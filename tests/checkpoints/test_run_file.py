import json
from dataclasses import replace
from pathlib import Path

import pytest

from bertjax.checkpoints.run_file import NAME, RunFile, read_run_file, write_run_file
from bertjax.errors import UserError

FULL = RunFile(
    text=("title", "描述"),
    label="tag",
    clean=True,
    max_length=64,
    temperature=1.7,
    threshold=0.5,
    settings={"epochs": 3, "optimizer": {"learning_rate": 2e-4}},
    data={"fingerprint": "abc", "classes": {"猫": 3}},
    versions={"jax": "0.10.1"},
    training={"history": [{"epoch": 1, "loss": 0.5}]},
    scores={"weighted_f1": 0.9},
)


@pytest.mark.parametrize("run", [RunFile(), FULL])
def test_what_is_written_is_read(run, tmp_path):
    write_run_file(tmp_path, run)
    assert read_run_file(tmp_path) == run


def test_other_letters_stay_readable(tmp_path):
    write_run_file(tmp_path, FULL)
    assert "描述" in (tmp_path / NAME).read_text(encoding="utf-8")


def test_a_checkpoint_without_the_file_has_the_defaults(tmp_path):
    assert read_run_file(tmp_path) == RunFile()
    assert RunFile().temperature == 1.0
    assert RunFile().max_length is None


def test_absent_fields_have_their_defaults_and_unknown_ones_are_passed_over(tmp_path):
    (tmp_path / NAME).write_text('{"clean": true, "of a later version": [1]}')
    assert read_run_file(tmp_path) == RunFile(clean=True)


def test_a_number_that_is_not_finite_becomes_null(tmp_path):
    history = [{"loss": float("nan"), "accuracy": 0.5}, {"loss": float("inf")}]
    write_run_file(tmp_path, replace(FULL, training={"history": history}))

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    values = json.loads((tmp_path / NAME).read_text(encoding="utf-8"), parse_constant=refuse)
    assert values["training"]["history"] == [{"loss": None, "accuracy": 0.5}, {"loss": None}]


DAMAGED = {
    "empty": "",
    "cut": '{"clean": true',
    "null": "null",
    "a list": "[]",
    "a list of pairs": '[["clean", true]]',
    "too deep": "[" * 100_000,
    "text is one column": '{"text": "title"}',
    "text is a number": '{"text": 3}',
    "a column is a number": '{"text": ["title", 3]}',
    "clean is text": '{"clean": "no"}',
    "max_length is text": '{"max_length": "64"}',
    "max_length is zero": '{"max_length": 0}',
    "max_length is true": '{"max_length": true}',
    "max_length is broken": '{"max_length": 64.5}',
    "ladder is a number": '{"ladder": 64}',
    "a rung is text": '{"ladder": [16, "64"]}',
    "a rung is zero": '{"ladder": [0, 64]}',
    "ladder falls": '{"ladder": [64, 16]}',
    "temperature is zero": '{"temperature": 0}',
    "temperature is negative": '{"temperature": -1.0}',
    "temperature is NaN": '{"temperature": NaN}',
    "temperature is infinite": '{"temperature": Infinity}',
    "temperature is null": '{"temperature": null}',
    "threshold is text": '{"threshold": "half"}',
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_refused(name, tmp_path):
    (tmp_path / NAME).write_text(DAMAGED[name])
    with pytest.raises(
        UserError, match=r"bertjax.json is damaged \(.+\): fine-tune again"
    ) as error:
        read_run_file(tmp_path)
    assert "\n" not in str(error.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path):
    (tmp_path / NAME).write_bytes(b'{"label": "\xff"}')
    with pytest.raises(UserError, match="is damaged"):
        read_run_file(tmp_path)


def test_the_refusal_names_the_field(tmp_path):
    (tmp_path / NAME).write_text('{"temperature": "hot"}')
    with pytest.raises(UserError, match=r"\(temperature is 'hot'\)"):
        read_run_file(tmp_path)


def test_a_run_survives_load_and_save(run_folder, tmp_path):
    from bertjax.checkpoints.folder import load, save

    save(load(run_folder), tmp_path / "copy")
    assert (tmp_path / "copy" / NAME).read_bytes() == (run_folder / NAME).read_bytes()


def test_a_new_head_does_not_carry_the_scores_of_the_old(run_folder):
    from bertjax.checkpoints.folder import load

    assert load(run_folder, labels=["other", "classes"]).run == RunFile()
