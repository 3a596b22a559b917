import subprocess
from pathlib import Path

import pytest

from benchmarks import quick
from benchmarks.records import append_record


def test_every_benchmark_is_run() -> None:
    folder = Path(quick.__file__).parent
    commands = {p.stem for p in folder.glob("*.py") if "run_command(" in p.read_text()}
    assert set(quick.BENCHMARKS) == commands - {"command", "quick"}


def test_a_record_with_a_device_and_every_chart_must_be_there(tmp_path: Path) -> None:
    assert quick.missing("loading", tmp_path) == "no records"
    append_record("loading-quick", {"device": "cpu", "machine": {}}, tmp_path)
    assert quick.missing("loading", tmp_path) == "no chart loading"
    (tmp_path / "loading-quick.png").touch()
    assert quick.missing("loading", tmp_path) == ""
    append_record("loading-quick", {"machine": {}}, tmp_path)
    assert quick.missing("loading", tmp_path) == "a record without device or machine"


def test_a_benchmark_that_fails_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def run(command, env, **_):
        asked.append((command[2:], Path(env["BERTJAX_BENCHMARK_RESULTS"]).exists()))
        return subprocess.CompletedProcess(command, 2, "working\nbenchmarks.growth: no\n")

    monkeypatch.setattr(quick.subprocess, "run", run)
    assert quick.main(["--only", "growth"]) == 2
    assert asked == [(["benchmarks.growth", "--quick"], True)]
    shown = capsys.readouterr()
    assert shown.out.startswith("growth: status 2: benchmarks.growth: no, ")
    assert shown.err == "benchmarks.quick: failed: growth\n"


def test_another_name_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert quick.main(["--only", "speed"]) == 2
    assert capsys.readouterr().err.startswith("benchmarks.quick: there is no benchmark 'speed'")
