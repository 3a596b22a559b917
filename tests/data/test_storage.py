"""Folders by path and by address."""

import pytest

from bertjax.data.storage import exists, make_folder, read_text, remove_folder, stamps, write_text
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


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_stamp_changes_with_its_file_alone(scheme, tmp_path):
    (tmp_path / "inner").mkdir()
    one, other = tmp_path / "a.csv", tmp_path / "inner" / "b.csv"
    one.write_text("1")
    other.write_text("2")
    before = stamps(f"{scheme}{tmp_path}")
    assert before.keys() == {str(one), str(other)}
    one.write_text("10")
    after = stamps(f"{scheme}{tmp_path}")
    assert after[str(one)] != before[str(one)]
    assert after[str(other)] == before[str(other)]
    assert stamps(f"{scheme}{one}") == {str(one): after[str(one)]}
    assert stamps(f"{scheme}{tmp_path}/nowhere") == {}


def test_of_pages_of_the_web_nobody_knows_when_they_change():
    assert stamps("https://example.invalid/a.csv") == {}
