"""What a search may replace, and what it keeps."""

from dataclasses import replace
from pathlib import Path

import pytest

from bertjax.cluster.search_folder import SearchFolder
from bertjax.errors import UserError
from bertjax.workflows.tune_configs import TuneConfig


@pytest.fixture
def config(tmp_path: Path) -> TuneConfig:
    return TuneConfig(data="sample", out=tmp_path / "search", trials=3)


def begun(config: TuneConfig) -> SearchFolder:
    folder = SearchFolder(config)
    folder.refuse_what_is_there()
    folder.begin()
    return folder


def unfinished(config: TuneConfig) -> SearchFolder:
    folder = begun(config)
    folder.state.mkdir()
    return folder


def test_the_end_keeps_the_best_run_and_nothing_to_go_on_with(config):
    folder = unfinished(config)
    for name in ("a", "b", "b.snapshots"):
        (folder.runs / name).mkdir()
        (folder.runs / name / "name.txt").write_text(name)
    folder.end("b")
    assert (folder.best / "name.txt").read_text() == "b"
    assert sorted(path.name for path in folder.path.iterdir()) == ["best", "search.json"]
    folder.end("b")  # a search that was killed at its very end comes here again
    assert (folder.best / "name.txt").read_text() == "b"


def test_an_unfinished_search_is_not_begun_anew_by_mistake(config):
    unfinished(config)
    with pytest.raises(UserError, match="holds an unfinished search: pass --resume"):
        SearchFolder(config).refuse_what_is_there()
    SearchFolder(replace(config, resume=True)).refuse_what_is_there()
    SearchFolder(replace(config, overwrite=True)).refuse_what_is_there()


def test_a_search_goes_on_with_its_own_settings_alone(config):
    unfinished(config)
    other = replace(config, resume=True, trials=5)
    with pytest.raises(UserError, match=r"other settings: trials was 3 and is 5"):
        SearchFolder(other).refuse_what_is_there()
    SearchFolder(replace(config, resume=True, ray_address="h:1")).refuse_what_is_there()


def test_a_finished_search_is_not_resumed_and_not_replaced_by_mistake(config):
    begun(config)
    with pytest.raises(UserError, match="finished search: there is nothing to resume"):
        SearchFolder(replace(config, resume=True)).refuse_what_is_there()
    with pytest.raises(UserError, match="exists already"):
        SearchFolder(config).refuse_what_is_there()
    begun(replace(config, overwrite=True))


@pytest.mark.parametrize("flags", [{}, {"overwrite": True}, {"resume": True}])
def test_a_folder_of_something_else_is_never_touched(flags, config):
    config.out.mkdir()
    (config.out / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match="is not of a search"):
        begun(replace(config, **flags))
    assert (config.out / "thesis.tex").read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_refused(config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        begun(replace(config, out=tmp_path / "file" / "search"))


def test_of_half_a_copy_nothing_is_left_when_a_search_goes_on(config, tmp_path):
    folder = unfinished(config)
    assert not folder.has_notes()
    written = tmp_path / "written"
    written.mkdir()
    for text in ("first", "second"):
        (written / "experiment_state-1.json").write_text(text)
        (written / "searcher-state-1.pkl").write_text(text)
        folder.keep_notes(written)
    (folder.state / "experiment_state-2.json").write_text("hal")
    (folder.state / "tuner.pkl").write_text("asked")
    assert folder.has_notes()
    folder.restore_notes()
    assert {path.name: path.read_text() for path in folder.state.iterdir()} == {
        "experiment_state-1.json": "second",
        "searcher-state-1.pkl": "second",
        "tuner.pkl": "asked",
    }
    folder.end(None)
    assert [path.name for path in folder.path.iterdir()] == ["search.json"]
