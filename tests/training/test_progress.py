import re

import pytest

from bertjax.training import progress as module
from bertjax.training.progress import Progress


@pytest.fixture
def seconds(monkeypatch):
    """A clock that moves when its value is set."""
    now = [100.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    return now


def last_bar(capsys) -> str:
    out, err = capsys.readouterr()
    assert out == ""  # standard output holds results alone
    return err.split("\r")[-1]


def test_the_bar_counts_steps_and_shows_loss_and_rate(capsys, seconds):
    bar = Progress()
    bar.start(done=0, total=4)
    bar.step(tokens=5000, seen=())  # compiles, so the rate begins after it
    seconds[0] += 2
    bar.step(tokens=1000, seen=())
    bar.step(tokens=2000, seen=[{"loss": 0.5}, {"loss": 0.12345}])
    bar.close()
    shown = last_bar(capsys)
    assert "training:  75%" in shown
    assert "3/4" in shown
    assert "loss 0.123, 1,500 tokens/s" in shown


def test_the_rate_leaves_out_what_the_scores_of_an_epoch_take(capsys, seconds):
    bar = Progress()
    bar.start(done=0, total=4)
    bar.step(tokens=5000, seen=())
    seconds[0] += 1
    bar.step(tokens=900, seen=())
    seconds[0] += 60  # scores
    bar.epoch({"epoch": 1, "train_loss": 0.25})
    seconds[0] += 2
    bar.step(tokens=1000, seen=[{"loss": 0.5}])
    bar.close()
    assert "loss 0.500, 500 tokens/s" in last_bar(capsys)


def test_an_epoch_that_was_resumed_at_its_end_leaves_compiling_out_of_the_rate(capsys, seconds):
    bar = Progress()
    bar.start(done=2, total=4)
    bar.epoch({"epoch": 1, "train_loss": 0.25})
    seconds[0] += 60  # compiles
    bar.step(tokens=5000, seen=())
    seconds[0] += 2
    bar.step(tokens=1000, seen=[{"loss": 0.5}])
    bar.close()
    assert "loss 0.500, 500 tokens/s" in last_bar(capsys)


def test_the_loss_shown_is_the_last_that_was_known(capsys, seconds):
    bar = Progress()
    bar.start(done=0, total=3)
    bar.step(10, [{"loss": 0.5}])
    seconds[0] += 1
    bar.step(10, ())
    bar.close()
    assert "loss 0.500" in last_bar(capsys)


def test_a_resumed_run_starts_where_it_was(capsys):
    bar = Progress()
    bar.start(done=6, total=10)
    bar.step(10, ())
    bar.close()
    shown = last_bar(capsys)
    assert "7/10" in shown
    assert "70%" in shown


def test_an_epoch_leaves_a_line_of_its_figures(capsys):
    bar = Progress()
    bar.start(done=0, total=2)
    bar.epoch({"epoch": 2, "train_loss": 0.25, "weighted_f1": 0.9})
    bar.close()
    lines = re.split(r"[\r\n]+", capsys.readouterr().err)
    assert "epoch 2: train_loss 0.2500, weighted_f1 0.9000" in [line.strip() for line in lines]


def test_a_bar_that_never_started_can_be_closed(capsys):
    Progress().close()
    assert capsys.readouterr() == ("", "")
