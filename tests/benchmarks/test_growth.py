from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import growth
from benchmarks.growth import GrowthConfig
from benchmarks.processes import Child
from benchmarks.shapes import SIZES

KEYS = ("call_s", "tokenize_s", "plan_s", "pack_s")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "use_cores", lambda _: None)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--rounds", "0"], "--rounds must be at least 1, found 0"),
        (["--lengths", "64"], "--lengths must be two or more different sizes from 1, found (64,)"),
        (["--layers", "2", "2"], "--layers must be two or more different sizes from 1"),
        (["--rows"], "--rows must be two or more different sizes from 1, found ()"),
        (["--model", "huge"], "--model must be one of tiny, minilm, base, large, found 'huge'"),
        (["--lengths", "512", "1024"], "the models read at most 512 tokens a text"),
        (["--lengths", "64", "100"], "--same-tokens 2048 is no multiple of the length 100"),
        (["--data", "absent.csv"], "there is no file 'absent.csv'"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert growth.main(arguments) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"benchmarks.growth: {expected}")
    assert shown.count("\n") == 1


def test_one_size_grows_and_the_others_stay() -> None:
    config = GrowthConfig(lengths=(32, 128), batches=(4, 16), layers=(2, 8))
    found = [
        (
            p.points,
            p.settings["texts"],
            p.settings["length"],
            p.settings["sizes"]["num_hidden_layers"],
        )
        for p in growth.step_points(config)
    ]
    assert found == [
        ("length, texts stay", 8, 32, 6),
        ("length, texts stay", 8, 128, 6),
        ("length, tokens stay", 64, 32, 6),
        ("length, tokens stay", 16, 128, 6),
        ("batch", 4, 64, 6),
        ("batch", 16, 64, 6),
        ("layers", 8, 64, 2),
        ("layers", 8, 64, 8),
    ]


def peak_of(points: str, size: int) -> float:
    """Of which a step of 2 texts of 8 tokens reaches all if it takes a second."""
    layers = size if points == "layers" else SIZES["tiny"].num_hidden_layers
    sizes = replace(SIZES["tiny"], num_hidden_layers=layers)
    return 3 * sizes.forward_flops([8, 8], first_only=True)


def test_lines_are_of_medians_in_the_order_of_sizes() -> None:
    records: list[dict[str, Any]] = []
    for points in ("length, texts stay", "length, tokens stay", "batch", "layers", "rows"):
        for size, seconds in ((64, 4.0), (32, 1.0), (32, 3.0)):
            times = {key: [seconds] for key in KEYS}
            record = {"points": points, "size": size, "model": "tiny", "peak_bytes": 1e6 * size}
            record |= {"texts": 2, "length": 8} if points != "rows" else {}
            record |= {"matmul_flops": peak_of(points, size)} if points != "rows" else {}
            records.append({**record, **times})
    panels = growth.panels_of(records)
    assert [len(panel.curves) for panel in panels] == [2, 1, 1, 3]
    assert panels[1].curves[0].sizes == (32, 64)
    assert panels[1].curves[0].seconds == (2.0, 4.0)
    row = growth.growth_rows(panels, records)[2]
    assert row == [
        *("A step, by batch, step", "texts a step", "32", "64"),
        *("2,000.0 ms", "4,000.0 ms", "1.00", "x 2.00"),
        *("50%", "25%", "32 MB", "64 MB"),
    ]
    depth, rows = (growth.growth_rows(panels, records)[i] for i in (3, -1))
    assert depth[-4:-2] == ["50%", "25%"]  # of the layers of that point
    assert rows[-4:-2] == ["-", "-"]


def test_all_points_are_measured_in_turns_and_drawn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The children are replaced by what they report; the rest runs as it is."""
    ran, drawn = [], []

    def run_child(module: str, settings: dict[str, Any]) -> Child:
        if module == "prepare_rows":
            assert Path(settings["data"]).exists()
        ran.append((module, settings))
        times = {key: [0.1] for key in KEYS}
        return Child({"precision": "float32", "peak_bytes": 1, **times}, 1.0, 1)

    monkeypatch.setattr(growth, "run_child", run_child)
    monkeypatch.setattr(growth, "append_record", lambda *_: None)
    monkeypatch.setattr(growth, "draw_curves", lambda name, title, panels, _: drawn.extend(panels))
    assert growth.main(["--quick"]) == 0
    modules = [module for module, _ in ran]
    assert modules == ["auto_precision", *["train_bertjax"] * 8, *["prepare_rows"] * 2]
    assert ran[1][1]["precision"] == "float32"
    assert [panel.title for panel in drawn] == [question.title for question in growth.QUESTIONS]
    assert "How times grow, tiny" in capsys.readouterr().out
