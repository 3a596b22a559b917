from typing import Any

import pytest

from benchmarks import quality

FACTS = {
    "checkpoint": "bert",
    "fingerprint": "f",
    "threads": 2,
    "precision": "bfloat16",
    "machine": {"cpu": "A", "versions": {"torch": "2.13", "bertjax": "0.1"}},
}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.csv"], "there is no file 'absent.csv'"),
        (["sample", "--text", "titel", "--label", "tag"], "has no column 'titel'"),
        (["sample", "--seeds", "0"], "--seeds must be at least 1, found 0"),
        (["sample", "--grid-seeds", "-1"], "--grid-seeds must be at least 1, found -1"),
        (["sample", "--grid-epochs"], "the Trainer's grid is empty"),
        (["sample", "--grid-epochs", "2", "0"], "--grid-epochs must be 1 or more each, found"),
        (["sample", "--grid-learning-rates", "-1"], "--grid-learning-rates must be above 0 each"),
        (["sample", "--grid-learning-rates", "nan"], "--grid-learning-rates must be above 0 each"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quality, "require", lambda *_: None)
    monkeypatch.setattr(quality, "use_cores", lambda _: None)
    assert quality.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("benchmarks.quality: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_known_grid_training_is_found() -> None:
    old, new = grid_record(wall_s=1.0), grid_record(wall_s=2.0)
    assert quality.find_known([old, new], FACTS, 32, (1e-4, 4), 0) == new


@pytest.mark.parametrize(
    "other",
    [
        {"learning_rate": 2e-4},
        {"epochs": 6},
        {"seed": 1},
        {"batch_size": 16},
        {"part": "seed"},
        {"fingerprint": "g"},
        {"threads": 4},
        {"precision": "float32"},
        {"machine": {"cpu": "B", "versions": FACTS["machine"]["versions"]}},
        {"machine": {"cpu": "A", "versions": {"torch": "2.14", "bertjax": "0.1"}}},
    ],
)
def test_another_grid_training_is_not(other: dict[str, Any]) -> None:
    assert quality.find_known([grid_record(**other)], FACTS, 32, (1e-4, 4), 0) is None


def test_a_newer_bertjax_leaves_the_peers_grid_as_it_is() -> None:
    machine = {"cpu": "A", "versions": {"torch": "2.13", "bertjax": "0.2"}}
    known = [grid_record(machine=machine)]
    assert quality.find_known(known, FACTS, 32, (1e-4, 4), 0) == known[0]


def test_a_record_from_before_the_precision_was_told_is_of_bfloat16() -> None:
    known = grid_record()
    del known["precision"]
    assert quality.find_known([known], FACTS, 32, (1e-4, 4), 0) == known
    assert quality.find_known([known], FACTS | {"precision": "float32"}, 32, (1e-4, 4), 0) is None


def grid_record(**changes: Any) -> dict[str, Any]:
    cell = {"learning_rate": 1e-4, "epochs": 4, "batch_size": 32, "seed": 0}
    return {"part": "grid", **cell, **FACTS} | changes
