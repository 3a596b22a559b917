from pathlib import Path
from typing import Any

import pytest

from benchmarks import trainings
from benchmarks.processes import Child
from bertjax.data import sources
from bertjax.errors import UserError


def test_a_few_rows_keep_every_class(tmp_path: Path) -> None:
    labels = ["a"] * 300 + ["b"] * 100
    path = trainings.write_rows([f"text {i}" for i in range(400)], labels, tmp_path, 96)
    lines = Path(path).read_text().splitlines()
    assert lines[0] == "text,label"
    assert [sum(line.endswith(name) for line in lines) for name in (",a", ",b")] == [72, 24]


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any], dict[str, str]]]:
    """What would have been run; each child reports what it cost alone."""
    ran = []

    def run_child(module: str, settings: dict[str, Any], environment=None) -> Child:
        ran.append((module, settings, environment))
        return Child({"precision": "float32", "epochs": 4}, 2.5, 7, others_cores=0.123)

    monkeypatch.setattr(trainings, "run_child", run_child)
    monkeypatch.setattr(trainings, "append_record", lambda name, record: None)
    return ran


def test_a_child_gets_the_table_and_the_precision_of_this_machine(children, tmp_path: Path) -> None:
    columns = (("title", "description"), "tag")
    task = trainings.prepare("quality", "sample", *columns, 2, quick=False, folder=tmp_path)
    task.train("Trainer", "finetune_trainer", {"seed": 3})
    module, settings, _ = children[-1]
    assert module == "finetune_trainer"
    assert (settings["data"], settings["text"]) == ("sample", ["title", "description"])
    assert all(environment["JAX_PLATFORMS"] == "cpu" for *_, environment in children)
    assert (settings["precision"], settings["seed"], settings["threads"]) == ("float32", 3, 2)
    assert task.name == "quality"


def test_a_peak_is_of_the_same_table_in_one_library(children, tmp_path: Path) -> None:
    task = trainings.Task("finetune", {"data": "a.csv", "threads": 2}, {}, tmp_path, quick=False)
    assert task.peak("torch") == {"precision": "float32", "epochs": 4}
    module, settings, environment = children[-1]
    assert (module, settings["data"], settings["engine"]) == ("table_peak", "a.csv", "torch")
    assert environment["JAX_PLATFORMS"] == "cpu"


def test_the_quick_table_has_columns_of_its_own(children, tmp_path: Path) -> None:
    columns = (("title", "description"), "tag")
    task = trainings.prepare("finetune", "sample", *columns, 2, quick=True, folder=tmp_path)
    assert task.settings["data"] == str(tmp_path / "rows.csv")
    assert (task.settings["text"], task.settings["label"]) == (["text"], "label")
    assert task.name == "finetune-quick"


def test_what_is_not_on_this_machine_is_fetched_once(children, tmp_path, monkeypatch) -> None:
    table = sources.read_table("sample", ["title", "description"], "tag")
    monkeypatch.setattr(sources, "read_table", lambda *_: table)
    columns = (("title", "description"), "tag")
    task = trainings.prepare("finetune", "owner/name", *columns, 2, quick=False, folder=tmp_path)
    monkeypatch.undo()
    read = sources.read_table(task.settings["data"], ("text",), "label")
    assert (read.texts, read.labels) == (table.texts, table.labels)
    assert task.settings["text"] == ["text"]


def test_a_column_that_is_not_there_is_a_mistake_before_the_first_training(
    children, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="has no column 'tagg'"):
        trainings.prepare("quality", "sample", ("title",), "tagg", 2, True, tmp_path)
    assert not children


def test_a_record_tells_recipe_result_and_cost(children, tmp_path: Path) -> None:
    task = trainings.Task("finetune", {"threads": 2}, {"threads": 2}, tmp_path, quick=False)
    record = task.train("bertjax", "finetune_bertjax", {"epochs": None}, {"part": "seed"})
    assert record == {
        "benchmark": "finetune",
        "who": "bertjax",
        "part": "seed",
        "precision": "float32",
        "epochs": 4,  # what was trained, where the recipe leaves it to the default
        "wall_s": 2.5,
        "peak_bytes": 7,
        "others_cores": 0.12,
        "threads": 2,
    }


def test_compiled_programs_are_shared_only_where_that_is_asked_for(
    children, tmp_path: Path
) -> None:
    task = trainings.Task("finetune", {}, {}, tmp_path, quick=False)
    for compiled in (None, None, tmp_path / "shared"):
        task.train("bertjax", "finetune_bertjax", {}, compiled=compiled)
    folders = [environment["JAX_COMPILATION_CACHE_DIR"] for _, _, environment in children]
    assert len(set(folders)) == 3
    assert folders[-1] == str(tmp_path / "shared")
    assert not list(tmp_path.iterdir())


def test_other_rows_or_tokens_are_an_error() -> None:
    same = {"train_rows": 80, "test_rows": 20, "train_tokens": 900}
    trainings.check_same_data([same, dict(same)])
    with pytest.raises(RuntimeError, match="other rows or tokens"):
        trainings.check_same_data([same, same | {"train_tokens": 901}])
