"""Where a run is kept until it is finished."""

from pathlib import Path

import pytest

from bertjax.cluster.unfinished import Unfinished
from bertjax.data.storage import write_text
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
        write_text(f"{folder}/training/checkpoint_manager_snapshot.json", "{}")


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
    assert again.onward() == "; --resume goes on from the last snapshot"
    anew = Unfinished.of(config(out, storage, overwrite=True))
    assert not anew.has_snapshot()
    assert anew.onward() == ""
    assert not place.exists()


@pytest.mark.parametrize("snapshot", [False, True])
def test_a_run_that_fails_leaves_what_can_be_gone_on_with(snapshot, tmp_path):
    run = Unfinished.of(config(tmp_path / "run", None))
    leave(Path(run.place), snapshot)
    with pytest.raises(KeyboardInterrupt), run.tidy():
        raise KeyboardInterrupt
    assert Path(run.place).exists() == snapshot


def test_what_else_is_in_the_storage_stays(tmp_path):
    run = Unfinished.of(config(tmp_path / "run", tmp_path / "shared"))
    leave(tmp_path / "shared", snapshot=True)
    (tmp_path / "shared" / "mine.txt").write_text("kept")
    run.remove()
    assert [path.name for path in (tmp_path / "shared").iterdir()] == ["mine.txt"]


def test_a_storage_that_is_seen_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Unfinished.of(config(Path("run"), Path("shared"))).place == str(tmp_path / "shared")
