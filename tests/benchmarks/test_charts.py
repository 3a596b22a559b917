from pathlib import Path

import pytest

from benchmarks import charts


def records(**seconds: float) -> list[dict[str, object]]:
    return [
        {"who": who, "precision": "float32", "call_s": [value], "text_p50_s": value / 2}
        for who, value in seconds.items()
    ]


def test_the_fastest_bar_is_first_and_ours_is_marked() -> None:
    panel = charts.panel("forward", records(torch=2.0, bertjax=0.5, other=1.0))
    assert [bar.label.split(",")[0] for bar in panel.bars] == ["bertjax", "other", "torch"]
    assert [bar.ours for bar in panel.bars] == [True, False, False]
    assert [bar.value for bar in panel.bars] == [0.5, 1.0, 2.0]


def test_another_key_of_the_records_can_be_drawn() -> None:
    panel = charts.panel("one text", records(torch=2.0), key="text_p50_s")
    assert panel.bars == (charts.Bar("torch, float32", 1.0, False),)


def test_ours_may_have_several_bars_and_another_unit() -> None:
    panel = charts.panel_of("memory", {"b": 3e6, "a": 1e6, "c": 2e6}, ("a", "c"), charts.sizes)
    assert [(bar.label, bar.ours) for bar in panel.bars] == [("a", True), ("c", True), ("b", False)]
    assert panel.cells([bar.value for bar in panel.bars]) == ["1 MB", "2 MB", "3 MB"]


@pytest.mark.parametrize("count", [1, 3])
def test_a_picture_is_written(count: int, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    panels = [charts.panel(f"{i}", records(torch=2.0, bertjax=1.5 + i)) for i in range(count)]
    path = charts.draw("speed", "Title", panels, "a machine", tmp_path / "results")
    assert path == tmp_path / "results" / "speed.png"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_there_is_a_line_and_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(charts, "find_spec", lambda _: None)
    assert charts.draw("speed", "Title", [], "", tmp_path) is None
    assert "pip install matplotlib" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([0.00214, 0.0214, 1.5], ["2.14 ms", "21.4 ms", "1,500 ms"]),
        ([3.884, 15.09, 750.0], ["3.88 s", "15.1 s", "750 s"]),
    ],
)
def test_times_of_a_panel_are_in_one_unit(seconds: list[float], expected: list[str]) -> None:
    assert charts.durations(seconds) == expected
