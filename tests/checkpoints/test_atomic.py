import os
from pathlib import Path

import pytest

from bertjax.checkpoints.atomic import new_folder, refuse_existing, write_text
from bertjax.errors import UserError


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder that stands where a new one shall."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "old.txt").write_text("old")
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(folder: Path, overwrite: bool = False, error: BaseException | None = None) -> None:
    with new_folder(folder, overwrite) as scratch:
        (scratch / "new.txt").write_text("new")
        if error is not None:
            raise error


def test_the_folder_appears_at_the_end(tmp_path):
    folder = tmp_path / "a" / "b" / "out"
    with new_folder(folder) as scratch:
        assert scratch.is_dir()
        assert not folder.exists()
        (scratch / "new.txt").write_text("new")
    assert names(folder) == ["new.txt"]
    assert names(folder.parent) == ["out"]


def test_others_may_read_it_as_any_new_folder(tmp_path):
    write(tmp_path / "out")
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("error", [RuntimeError("x"), KeyboardInterrupt(), UserError("x")])
def test_a_failure_leaves_nothing(error, tmp_path):
    with pytest.raises(type(error)):
        write(tmp_path / "out", error=error)
    assert names(tmp_path) == []


def test_a_disk_that_refuses_is_told_in_one_line(tmp_path):
    message = r"cannot write \S*/out: \[Errno 28\] No space left on device$"
    with pytest.raises(UserError, match=message):
        write(tmp_path / "out", error=OSError(28, "No space left on device"))
    assert names(tmp_path) == []


def test_what_exists_is_refused_and_left_alone(old):
    with pytest.raises(UserError, match="out exists already: choose another folder or pass"):
        write(old)
    assert names(old) == ["old.txt"]
    assert names(old.parent) == ["out"]


def test_with_overwrite_it_is_replaced_only_at_the_end(old):
    with new_folder(old, overwrite=True) as scratch:
        assert names(old) == ["old.txt"]
        (scratch / "new.txt").write_text((old / "old.txt").read_text() + " and new")
    assert names(old) == ["new.txt"]
    assert (old / "new.txt").read_text() == "old and new"
    assert names(old.parent) == ["out"]


def test_with_overwrite_a_failure_leaves_the_old_one(old):
    with pytest.raises(RuntimeError):
        write(old, overwrite=True, error=RuntimeError())
    assert names(old) == ["old.txt"]
    assert names(old.parent) == ["out"]


@pytest.mark.parametrize("error", [OSError("renaming failed"), KeyboardInterrupt()])
def test_with_overwrite_a_failure_between_the_renames_leaves_the_old_one(error, old, monkeypatch):
    real, calls = os.replace, []

    def replace(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise error
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises((UserError, KeyboardInterrupt)):
        write(old, overwrite=True)
    assert names(old) == ["old.txt"]
    assert names(old.parent) == ["out"]


def test_a_folder_that_somebody_else_made_meanwhile_is_not_replaced(tmp_path):
    folder = tmp_path / "out"
    with pytest.raises(UserError, match="exists already"), new_folder(folder):
        write(folder)
    assert names(folder) == ["new.txt"]
    assert names(tmp_path) == ["out"]


def test_any_name_will_do(tmp_path):
    for name in ("replaced", ".hidden", "人工 智能", "content"):
        write(tmp_path / name)
        write(tmp_path / name, overwrite=True)
        assert names(tmp_path / name) == ["new.txt"]


@pytest.mark.parametrize("path", ["out/../out", "other/../out", "./out"])
def test_a_path_with_dots_is_the_folder_it_leads_to(path, old, monkeypatch):
    (old.parent / "other").mkdir()
    monkeypatch.chdir(old.parent)
    write(Path(path), overwrite=True)
    assert names(old) == ["new.txt"]
    assert names(old.parent) == ["other", "out"]


def test_the_folder_one_stands_in_can_be_replaced(old, monkeypatch):
    monkeypatch.chdir(old)
    with pytest.raises(UserError, match="exists already"):
        write(Path("."))
    write(Path("."), overwrite=True)
    assert names(old) == ["new.txt"]


def test_a_link_stays_a_link(old):
    link = old.parent / "link"
    link.symlink_to(old)
    write(link, overwrite=True)
    assert link.is_symlink()
    assert names(old) == ["new.txt"]


def test_a_link_to_nothing_makes_what_it_points_to(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "out")
    write(link)
    assert names(tmp_path / "out") == ["new.txt"]


@pytest.mark.parametrize("below", ["out", "a/out"])
def test_a_file_in_the_place_of_a_folder_above(below, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="cannot write") as raised:
        write(tmp_path / "file" / below)
    assert "is a file" in str(raised.value) or "Not a directory" in str(raised.value)
    assert (tmp_path / "file").read_text() == "mine"
    assert names(tmp_path) == ["file"]


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UserError, match="out is a file, not a folder"):
        write(tmp_path / "out", overwrite=True)
    assert (tmp_path / "out").read_text() == "mine"


def test_refuse_existing(old):
    refuse_existing(old, overwrite=True)
    refuse_existing(old.parent / "new", overwrite=False)
    with pytest.raises(UserError, match="exists already"):
        refuse_existing(old, overwrite=False)


def test_a_text_stays_until_the_new_one_is_there(tmp_path):
    path = tmp_path / "trials.csv"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new \ud800")
    assert path.read_text() == "old"
    write_text(path, "né")
    assert path.read_bytes() == "né".encode()
    assert names(tmp_path) == ["trials.csv"]
