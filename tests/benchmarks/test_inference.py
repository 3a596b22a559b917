from pathlib import Path
from typing import Any

import pytest

from benchmarks import inference, processes
from benchmarks.inference import InferenceConfig
from benchmarks.processes import PROCESSOR


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where every peer is installed, without touching this process's cores."""
    monkeypatch.setattr(inference, "require", lambda *_: None)
    monkeypatch.setattr(inference, "missing", lambda _: [])
    monkeypatch.setattr(inference, "use_cores", lambda _: None)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--rounds", "0"], "--rounds must be at least 1, found 0"),
        (["--calls", "-3"], "--calls must be at least 1, found -3"),
        (["--shapes", "base"], "'base' is no shape: write MODEL-TEXTSxTOKENS"),
        (["--shapes"], "there is nothing to measure: name shapes after --shapes"),
        (["--batch-sizes", "0", "16"], "--batch-sizes must be 1 or more each"),
        (["--parts"], "there is nothing to measure: name some of forward, texts, one-text"),
        (["--checkpoint", "./absent"], "there is no folder './absent'"),
        (["--data", "absent.csv"], "there is no file 'absent.csv'"),
        (["--text", "sentence"], "sample has none of the text columns sentence"),
    ],
)
@pytest.mark.usefixtures("alone")
def test_a_mistake_is_one_line(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inference.main(arguments) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"benchmarks.inference: {expected}")
    assert shown.count("\n") == 1


@pytest.mark.parametrize(
    ("hardware", "asked", "expected"),
    [
        ("float32", (), ("float32", "int8")),
        ("bfloat16", (), ("bfloat16", "float32", "int8")),
        ("float32", ("bfloat16",), ("bfloat16",)),
    ],
)
def test_bfloat16_is_left_out_where_the_hardware_has_none(
    hardware: str,
    asked: tuple[Any, ...],
    expected: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    child = processes.Child({"precision": hardware}, 1.0, 1)
    monkeypatch.setattr(inference, "run_child", lambda *_: child)
    assert inference._precisions(InferenceConfig(precisions=asked)) == expected
    told = "no bfloat16" in capsys.readouterr().out
    assert told == ("bfloat16" not in expected)


@pytest.mark.usefixtures("alone")
def test_what_is_not_installed_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(inference, "missing", lambda _: ["KerasHub"])
    names = [engine.name for engine in inference._taking_part(InferenceConfig())]
    assert names == ["bertjax", "torch", "torch, autocast", "ONNX Runtime", "OpenVINO"]
    assert capsys.readouterr().out.startswith("KerasHub is not installed: it is left out")


@pytest.mark.usefixtures("alone")
def test_every_part_gives_a_table_and_a_panel(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The children are replaced by what they report; the rest runs as it is."""
    made, drawn, batching = [], [], []

    def run_child(program: str, settings: dict[str, Any], environment) -> processes.Child:
        assert environment == PROCESSOR
        made.append(program)
        Path(settings.get("folder", "/")).mkdir(exist_ok=True)
        result = {"precision": "bfloat16", "class_counts": [1, 2], "batching": [len(made), 2]}
        return processes.Child(result, 1.0, 1)

    def measure(benchmark, sides, facts, settings, rounds, environment, quick):
        assert (benchmark, rounds, quick) == ("inference", 1, True)
        assert environment == PROCESSOR
        batching.append([side.settings.get("batching") for side in sides])
        times = {f"{what}_{p}_s": 0.1 for what in ("tokens", "text") for p in ("p50", "p99")}
        result = {"call_s": [0.1], "first_s": 1.0, "matmul_flops": 1e12, "peak_bytes": 1e8}
        result |= {
            "batch_size": 16,
            "streams": 1,
            "agreement": 1.0,
            "flops": 1e9,
            "tokens": 32,
            **times,
        }
        return [{"who": s.name, "precision": s.precision, **facts, **result} for s in sides]

    monkeypatch.setattr(inference, "run_child", run_child)
    monkeypatch.setattr(inference, "measure", measure)
    monkeypatch.setattr(inference, "draw", lambda name, _, shown, note: drawn.append((name, shown)))
    assert inference.main(["--quick"]) == 0
    assert made == [
        *("auto_precision", "make_random", "export_peers"),
        *("make_head", "export_peers", "reference_classes", *["choose_batch"] * 7),
    ]
    assert batching[1] == [None, None, *([number, 2] for number in range(7, 14))]  # ours has none
    shown = capsys.readouterr().out
    titles = ("Forward pass, tiny-2x8", "40 texts, from text to probabilities", "One text of 32")
    assert all(title in shown for title in titles)
    assert [(name, [len(panel.bars) for panel in panels]) for name, panels in drawn] == [
        ("inference-forward-quick", [11]),
        ("inference-texts-quick", [9]),
        ("inference-one-text-quick", [9]),
    ]


def test_where_no_result_counts_there_is_no_chart(tmp_path: Path, monkeypatch, capsys) -> None:
    record = {"who": "ONNX Runtime", "precision": "int8", "call_s": [0.1], "first_s": 1.0}
    record |= {"texts": 1, "flops": 1.0, "matmul_flops": 1.0, "peak_bytes": 1, "agreement": 0.9}
    (tmp_path / "classifier").mkdir()
    child = processes.Child({"class_counts": [1]}, 1.0, 1)
    monkeypatch.setattr(inference, "run_child", lambda *_: child)
    monkeypatch.setattr(
        inference, "measure", lambda *_: [record | {"batch_size": 16, "streams": 2}]
    )
    task = inference.Task(InferenceConfig(), (), ("int8",), tmp_path)
    assert inference._texts(task, ["a"]) == []
    assert "int8 does not count" in capsys.readouterr().out
