from pathlib import Path

import pytest

from benchmarks import charts, curves
from benchmarks.curves import Curve, CurvePanel


def test_the_exponent_of_a_power_is_found() -> None:
    curve = Curve("step", (2, 4, 8), (0.3, 1.2, 4.8))  # 0.075 size^2
    assert curve.exponent() == pytest.approx(2)
    assert curve.per_doubling() == pytest.approx(4)


def test_what_does_not_grow_has_exponent_0() -> None:
    curve = Curve("step", (10, 1000), (0.5, 0.5))
    assert curve.exponent() == pytest.approx(0, abs=1e-12)
    assert curve.per_doubling() == pytest.approx(1)


@pytest.mark.parametrize("count", [1, 4])
def test_a_picture_is_written(count: int, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    own = (Curve("a", (2, 4), (0.1, 0.2)), Curve("b", (2, 8), (0.1, 0.9)))
    panels = [CurvePanel(f"{i}", "tokens", own) for i in range(count)]
    path = curves.draw_curves("growth", "Title", panels, "a machine", tmp_path / "results")
    assert path == tmp_path / "results" / "growth.png"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_there_is_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(charts, "find_spec", lambda _: None)
    assert curves.draw_curves("growth", "Title", [], "", tmp_path) is None
    assert not list(tmp_path.iterdir())
