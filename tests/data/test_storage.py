"""Folders by path and by address."""

import pytest

from bertjax.data.storage import exists, make_folder, read_text, remove_folder, write_text
from bertjax.errors import UserError


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_what_is_written_is_there_until_it_is_removed(scheme, tmp_path):
    folder = f"{scheme}{tmp_path}/a/b"
    assert not exists(folder)
    remove_folder(folder)  # which is no mistake
    make_folder(folder)
    write_text(f"{folder}/notes.json", "first, and longer")
    write_text(f"{folder}/notes.json", "größer")
    assert read_text(f"{folder}/notes.json") == "größer"
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["notes.json"]
    remove_folder(folder, only_if_empty=True)
    assert exists(folder)
    remove_folder(folder)
    assert not exists(folder)
    remove_folder(f"{scheme}{tmp_path}/a", only_if_empty=True)
    assert not list(tmp_path.iterdir())


def test_a_path_is_seen_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_folder("here")
    assert (tmp_path / "here").is_dir()


def test_an_address_of_no_kind_is_told_in_one_line():
    with pytest.raises(UserError, match=r"^cannot use odd://bucket/folder: ") as error:
        exists("odd://bucket/folder")
    assert "\n" not in str(error.value)
