"""Where a run is kept until it is finished."""

from dataclasses import replace
from pathlib import Path

import pytest

from bertjax.cluster.unfinished import Unfinished
from bertjax.errors import UserError
from bertjax.workflows.configs import ClusterConfig, FinetuneConfig


def config(out: Path, storage: Path | None, **settings) -> FinetuneConfig:
    cluster = ClusterConfig(workers=2, storage=storage and str(storage))
    return FinetuneConfig(data="table.csv", out=out, cluster=cluster, **settings)


def leave(folder: Path, snapshot: bool) -> None:
    """What a run that was killed leaves."""
    (folder / "rows").mkdir(parents=True)
    (folder / "training").mkdir()
    if snapshot:
        (folder / "training" / "checkpoint_manager_snapshot.json").write_text("{}")


@pytest.mark.parametrize("stored", [False, True])
def test_a_run_that_was_left_is_gone_on_with_or_given_up_and_nothing_else(stored, tmp_path):
    out = tmp_path / "run"
    place = tmp_path / ("elsewhere" if stored else "run.snapshots")
    storage = place if stored else None
    assert Unfinished.of(config(out, storage)).place == str(place)
    leave(place, snapshot=True)
    with pytest.raises(UserError, match=f"{place} holds an unfinished run: pass --resume to go on"):
        Unfinished.of(config(out, storage))
    again = Unfinished.of(config(out, storage, resume=True))
    assert again.has_snapshot()
    assert again.onward() == "; --resume with the same settings goes on from the last snapshot"
    anew = Unfinished.of(config(out, storage, overwrite=True))
    assert not anew.has_snapshot()
    assert anew.onward() == ""
    assert not place.exists()


@pytest.mark.parametrize("stored", [False, True])
def test_a_run_that_was_to_replace_another_can_be_gone_on_with(stored, tmp_path):
    out, place = tmp_path / "run", tmp_path / ("elsewhere" if stored else "run.snapshots")
    storage = place if stored else None
    out.mkdir()
    with pytest.raises(UserError, match="exists already"):
        Unfinished.of(config(out, storage))
    with pytest.raises(UserError, match="is a finished run: there is nothing to resume"):
        Unfinished.of(config(out, storage, resume=True))
    leave(place, snapshot=True)
    assert Unfinished.of(config(out, storage, resume=True)).has_snapshot()


@pytest.mark.parametrize(
    ("snapshot", "rows", "onward"),
    [
        (False, False, ""),
        (False, True, "; --resume takes the rows as they were read"),
        (True, True, "; --resume with the same settings goes on from the last snapshot"),
    ],
)
def test_a_run_that_fails_leaves_what_can_be_gone_on_with(snapshot, rows, onward, tmp_path):
    run = Unfinished.of(config(tmp_path / "run", None))
    leave(Path(run.place), snapshot)
    if rows:
        Path(run.rows, "ingested.json").write_text("{}")
    with pytest.raises(KeyboardInterrupt), run.tidy():
        raise KeyboardInterrupt
    assert Path(run.place).exists() == bool(onward)
    assert run.onward() == onward


def test_what_else_is_in_the_storage_stays(tmp_path):
    run = Unfinished.of(config(tmp_path / "run", tmp_path / "shared"))
    leave(tmp_path / "shared", snapshot=True)
    (tmp_path / "shared" / "mine.txt").write_text("kept")
    run.remove()
    assert [path.name for path in (tmp_path / "shared").iterdir()] == ["mine.txt"]


def test_a_storage_that_is_seen_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Unfinished.of(config(Path("run"), Path("shared"))).place == str(tmp_path / "shared")


def test_an_address_may_end_in_a_slash(tmp_path):
    cluster = ClusterConfig(workers=2, storage=f"file://{tmp_path}/shared/")
    run = Unfinished.of(replace(config(tmp_path / "run", None), cluster=cluster))
    assert run.rows == f"file://{tmp_path}/shared/rows"
