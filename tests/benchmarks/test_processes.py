from pathlib import Path
from typing import Any

import pytest

from benchmarks import processes
from bertjax.errors import UserError


def test_a_child_reports_and_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = "Path(sys.argv[2]).write_text(Path(sys.argv[1]).read_text())"
    texts = "long" * 100_000  # more than an argument holds
    child = _run(tmp_path, monkeypatch, copy, {"texts": texts})
    assert child.result == {"texts": texts}
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


def test_a_child_has_our_variables_but_those_that_benchmarks_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else `--memory default` would be whatever the user's shell has."""
    for name in ("GLIBC_TUNABLES", "MALLOC_ARENA_MAX", "XLA_FLAGS"):
        monkeypatch.setenv(name, "set")
    found = processes.child_environment({"MALLOC_ARENA_MAX": "1"})
    assert "GLIBC_TUNABLES" not in found
    assert (found["XLA_FLAGS"], found["MALLOC_ARENA_MAX"]) == ("set", "1")


def _run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    settings: dict[str, Any] | None = None,
) -> processes.Child:
    """A program of one line as the child `example` of an otherwise empty project."""
    monkeypatch.delenv("PYTHONPATH", raising=False)  # the project may stand there
    folder = tmp_path / "benchmarks" / "children"
    folder.mkdir(parents=True)
    for package in (folder.parent, folder):  # or another one on the path comes first
        (package / "__init__.py").touch()
    (folder / "example.py").write_text(f"import sys\nfrom pathlib import Path\n{line}\n")
    monkeypatch.setattr(processes, "ROOT", tmp_path)
    return processes.run_child("example", settings or {})
