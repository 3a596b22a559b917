from pathlib import Path

import pytest

from benchmarks import processes
from bertjax.errors import UserError


def test_a_child_reports_and_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = _run(tmp_path, monkeypatch, "Path(sys.argv[2]).write_text(sys.argv[1])")
    assert child.result == {"seed": 3}
    assert 0 < child.wall_s < 60
    assert 1e6 < child.peak_bytes < 1e11
    assert 0 <= child.others_cores < 1000


def test_a_child_that_fails_shows_its_last_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)example ended with status 1:.*ValueError: broken"):
        _run(tmp_path, monkeypatch, "raise ValueError('broken')")


def test_a_child_without_a_result_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RuntimeError, match="example ended with status 0"):
        _run(tmp_path, monkeypatch, "print('done')")


def test_an_absent_package_is_named() -> None:
    processes.require("json")
    with pytest.raises(UserError, match="pip install no_such_package"):
        processes.require("json", "no_such_package")


def _run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> processes.Child:
    """A program of one line as the child `example` of an otherwise empty project."""
    monkeypatch.delenv("PYTHONPATH", raising=False)  # the project may stand there
    folder = tmp_path / "benchmarks" / "children"
    folder.mkdir(parents=True)
    for package in (folder.parent, folder):  # or another one on the path comes first
        (package / "__init__.py").touch()
    (folder / "example.py").write_text(f"import sys\nfrom pathlib import Path\n{line}\n")
    monkeypatch.setattr(processes, "ROOT", tmp_path)
    return processes.run_child("example", {"seed": 3})
