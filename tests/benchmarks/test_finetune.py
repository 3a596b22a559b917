from typing import Any

import pytest

from benchmarks import finetune
from benchmarks.finetune_table import FIRST, GROUPED, PADDED, SECOND


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where every peer is installed, without touching this process's cores."""
    monkeypatch.setattr(finetune, "require", lambda *_: None)
    monkeypatch.setattr(finetune, "use_cores", lambda _: None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.csv"], "there is no file 'absent.csv'"),
        (["sample", "--text", "titel", "--label", "tag"], "has no column 'titel'"),
        (["sample", "--seeds", "0"], "--seeds must be at least 1, found 0"),
        (["sample", "--batch-size", "-1"], "--batch-size must be at least 1, found -1"),
        (["sample", "--learning-rate", "0"], "--learning-rate must be above 0, found 0.0"),
        (["sample", "--learning-rate", "nan"], "--learning-rate must be above 0, found nan"),
    ],
)
@pytest.mark.usefixtures("alone")
def test_a_mistake_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert finetune.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("benchmarks.finetune: ")
    assert message in error
    assert error.count("\n") == 1


class Task:
    """Reports figures where a training would run, and keeps what it was asked for."""

    name = "finetune"

    def __init__(self, folder, quick: bool = False) -> None:
        self.folder, self.quick = folder, quick
        self.facts = {"machine": {"cpu": "A", "cores": 2}, "precision": "float32"}
        self.peaks: list[str] = []
        self.asked: list[tuple[str, str, dict[str, Any], Any]] = []

    def train(self, who, module, recipe, facts=None, compiled=None) -> dict[str, Any]:
        self.asked.append((who, module, recipe, compiled))
        data = {"train_rows": 80, "test_rows": 20, "train_tokens": 900, "others_cores": 0.0}
        times = dict.fromkeys(("wall_s", "train_s", "epoch_s"), 9.0)
        cost = {"epochs": 4, "weighted_f1": 0.9, "peak_bytes": 1e9}
        return {"who": who, **recipe, **data, **times, **cost, **(facts or {})}

    def peak(self, engine: str) -> dict[str, Any]:
        self.peaks.append(engine)
        return {"flops_a_token": 1e6, "matmul_flops": 1e9 if engine == "torch" else 2e9}


def test_sides_take_turns_and_the_second_run_finds_what_the_first_compiled(tmp_path) -> None:
    task = Task(tmp_path)
    config = finetune.FinetuneConfig("sample", learning_rate=1e-4, epochs=3, batch_size=16)
    records = finetune._run_seeds(task, config, range(3))  # pyright: ignore[reportArgumentType]
    names = [who for who, *_ in task.asked]
    assert names == [
        *(FIRST, SECOND, PADDED, GROUPED),
        *(PADDED, GROUPED, FIRST, SECOND),
        *(GROUPED, FIRST, SECOND, PADDED),
    ]
    assert task.peaks == ["bertjax", "torch"] * 3
    peaks = {record["who"]: record["matmul_flops"] for record in records}
    assert peaks == {FIRST: 2e9, SECOND: 2e9, PADDED: 1e9, GROUPED: 1e9}
    folders = [compiled for who, *_, compiled in task.asked if who in (FIRST, SECOND)]
    assert folders[0] == folders[1] != folders[2] == folders[3]
    theirs = {who: recipe for who, _, recipe, _ in task.asked[:4]}
    assert theirs[FIRST] == {"seed": 0, "epochs": None}
    rate = {"learning_rate": 1e-4, "epochs": 3, "batch_size": 16}
    assert theirs[PADDED] == {"seed": 0, **rate, "sampling": "random"}
    assert theirs[GROUPED] == {"seed": 0, **rate, "sampling": "group_by_length"}


@pytest.mark.usefixtures("alone")
def test_the_quick_benchmark_trains_one_seed_for_one_epoch_and_draws(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path
) -> None:
    task, drawn = Task(tmp_path, quick=True), []
    monkeypatch.setattr(finetune, "prepare", lambda *_: task)
    monkeypatch.setattr(finetune, "draw", lambda name, title, panels, note: drawn.extend(panels))
    assert finetune.main(["sample", "--quick"]) == 0
    assert [recipe["epochs"] for _, _, recipe, _ in task.asked] == [1, 1, 1, 1]
    assert "80 texts to train on, float32" in capsys.readouterr().out
    assert [len(panel.bars) for panel in drawn] == [4]


def test_a_bar_is_the_median_of_the_whole_process() -> None:
    seconds = {FIRST: 40.0, SECOND: 30.0, PADDED: 60.0, GROUPED: 50.0}
    records = [
        {"who": who, "wall_s": value * scale}
        for scale in (1.0, 5.0, 0.1)
        for who, value in seconds.items()
    ]
    bars = finetune.wall_panel("", records).bars
    assert [(bar.label, bar.value, bar.ours) for bar in bars] == [
        (SECOND, 30.0, True),
        (FIRST, 40.0, True),
        (GROUPED, 50.0, False),
        (PADDED, 60.0, False),
    ]
