import signal
import threading
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.training import loop, stopwatch
from bertjax.training.loop import AHEAD, LoopConfig, fit
from bertjax.training.parallel import Runner
from bertjax.training.progress import Progress
from bertjax.training.snapshots import Snapshots
from bertjax.training.steps import TrainState

STEPS = 4
DEADLINE = 60  # seconds; a bound on waiting for another thread, not a claim on speed
BATCH = {"segment_ids": np.ones((1, 3), np.int32)}


def counting_runner(losses=(), grad_norms=(), before=lambda n: None) -> Runner:
    """The parameter counts the steps; step n has the n-th loss and norm, 1 and 0 beyond.

    `before(n)` is called before step n.
    """

    def step(state, batch):
        n = int(state.step)
        before(n)
        metrics = {
            "loss": jnp.float32(losses[n] if n < len(losses) else 1),
            "grad_norm": jnp.float32(grad_norms[n] if n < len(grad_norms) else 0),
        }
        return state.replace(step=state.step + 1, params=state.params + 1), metrics

    def same(x):
        return x

    return Runner(same, same, step, lambda state, batch: None, same)


def state() -> TrainState:
    return TrainState(jnp.int32(0), jnp.float32(0), (), jax.random.key(0))


def batches(epoch: int):
    return [BATCH] * STEPS


def scripted(name: str, values):
    """An evaluation that gives the n-th value in epoch n."""
    left = iter(values)
    return lambda params: {name: next(left)}


def run(epochs=3, runner=None, evaluate=None, metric="f1", batches=batches, **settings):
    config = LoopConfig(epochs, STEPS, metric, **settings)
    return fit(config, runner or counting_runner(), state(), batches, evaluate)


def test_without_evaluation_the_last_state_is_kept():
    result = run(runner=counting_runner(losses=[8, 6, 4, 2]))
    assert result.params == 12
    assert result.steps == 12
    assert (result.ending, result.message, result.best, result.best_epoch) == (
        "finished",
        "",
        None,
        0,
    )
    assert result.history == [
        {"epoch": 1, "train_loss": 5},
        {"epoch": 2, "train_loss": 1},
        {"epoch": 3, "train_loss": 1},
    ]


@pytest.mark.parametrize(
    ("metric", "values", "best_epoch"),
    [
        ("f1", [0.3, 0.7, 0.5], 2),
        ("f1", [0.7, 0.7, 0.7], 1),
        ("f1", [-3, -2, -1], 3),
        ("loss", [0.3, 0.1, 0.2], 2),
        ("loss", [0.1, 0.2, 0.1], 1),
        ("span_loss", [3, 2, 1], 3),
    ],
)
def test_the_best_state_is_kept(metric, values, best_epoch):
    result = run(evaluate=scripted(metric, values), metric=metric)
    assert result.params == best_epoch * STEPS
    assert result.best == values[best_epoch - 1]
    assert result.best_epoch == best_epoch
    assert [record[metric] for record in result.history] == values


def test_each_epoch_has_its_batches_once():
    asked = []

    def batches(epoch):
        asked.append(epoch)
        return [BATCH] * STEPS

    run(batches=batches)
    assert asked == [0, 1, 2]


def test_the_next_batch_is_placed_while_a_step_runs():
    placed = [threading.Event() for _ in range(2 * STEPS)]
    events = iter(placed)

    def place_batch(batch):
        next(events).set()
        return batch

    def before(step):
        nonlocal overlapping
        if step + 1 < len(placed):  # also the first of the next epoch
            overlapping += placed[step + 1].wait(DEADLINE)

    overlapping = 0
    runner = replace(counting_runner(before=before), place_batch=place_batch)
    run(epochs=2, runner=runner)
    assert overlapping == 2 * STEPS - 1


def test_a_step_gets_what_a_loss_asks_for_and_no_more(texts):
    seen = []

    def place_batch(batch):
        seen.append(set(batch))
        return batch

    run(1, replace(counting_runner(), place_batch=place_batch), batches=texts.batches)
    assert seen == [{"input_ids", "segment_ids", "labels", "weights"}] * STEPS


@pytest.mark.parametrize("ending", ["finished", "early", "interrupted", "not finite", "error"])
def test_no_thread_is_left_and_few_batches_are_made_in_vain(ending):
    made = []

    def batches(epoch):
        for number in range(STEPS):
            made.append((epoch, number))
            yield BATCH

    def evaluate(params):
        if ending == "error":
            raise ZeroDivisionError
        return {"f1": 0.0}

    losses = [0.0] * (STEPS + 1) + [np.nan if ending == "not finite" else 0.0]
    before = interrupting() if ending == "interrupted" else (lambda step: None)
    runner = counting_runner(losses, before=before)
    try:
        patience = int(ending == "early")
        result = run(9, runner, evaluate, batches=batches, patience=patience, log_every=1)
        steps = result.steps
        assert result.ending == ending
    except ZeroDivisionError:
        steps = STEPS
    assert [thread for thread in threading.enumerate() if thread.name == "prefetch"] == []
    assert made == [divmod(n, STEPS) for n in range(len(made))]
    assert len(made) == 9 * STEPS if ending == "finished" else len(made) <= steps + AHEAD


def test_the_host_waits_for_the_device_at_looks_alone():
    dispatched, read = [], []

    class Metric:
        """A number on a device, that is waited for when it becomes an array."""

        def __array__(self, dtype=None, copy=None):
            read.append(len(dispatched))
            return np.zeros((), np.float32)

    def step(state, batch):
        dispatched.append(batch)
        return state, {"loss": Metric(), "grad_norm": Metric()}

    run(2, replace(counting_runner(), step=step), log_every=3)
    # After the third step of an epoch, and after its last.
    assert sorted(set(read)) == [3, 4, 7, 8]
    assert len(read) == 2 * 2 * STEPS


def test_the_share_of_waiting_leaves_compilation_and_evaluation_out(monkeypatch):
    """A clock on which a batch takes 1 s, the first step 100, the others 7, an evaluation 1000."""
    now = [0.0]

    def spend(seconds):
        now[0] += seconds

    def in_turn(source, prepare, ahead):
        for item in source:
            spend(1.0 if item else 0.0)
            yield prepare(item)

    def evaluate(params):
        spend(1000.0)
        return {"f1": 0.0}

    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(loop, "prefetch", in_turn)
    runner = counting_runner(before=lambda step: spend(7.0 if step else 100.0))
    result = run(2, runner, evaluate)
    assert result.input_wait_share == pytest.approx(8 / (8 + 7 * 7))


def test_patience_stops_early():
    result = run(epochs=9, evaluate=scripted("f1", [0.1, 0.5, 0.4, 0.5, 0.9]), patience=2)
    assert result.ending == "early"
    assert result.message == "stopped early: f1 was best in epoch 2"
    assert len(result.history) == 4
    assert result.params == 2 * STEPS
    assert result.steps == 4 * STEPS


def test_patience_that_ends_with_the_last_epoch_is_no_early_stop():
    result = run(epochs=3, evaluate=scripted("f1", [0.9, 0.5, 0.4]), patience=2)
    assert (result.ending, result.message) == ("finished", "")


def test_without_patience_a_bad_metric_stops_nothing():
    result = run(epochs=5, evaluate=scripted("f1", [0.9, 0.1, 0.1, 0.1, 0.1]))
    assert result.ending == "finished"
    assert len(result.history) == 5


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("log_every", [1, 3, 100])
@pytest.mark.parametrize(
    ("name", "what"), [("losses", "the loss"), ("grad_norms", "the norm of the gradient")]
)
def test_training_stops_when_it_is_not_finite_and_keeps_the_best(name, what, log_every, value):
    # Step 2 of epoch 2, after which all is finite again.
    runner = counting_runner(**{name: [0.0] * 5 + [value]})
    result = run(runner=runner, evaluate=scripted("f1", [0.5, 0.9, 0.9]), log_every=log_every)
    assert result.ending == "not finite"
    assert result.message.startswith(f"{what} is {value} in epoch 2 at step 2: use a lower")
    assert "\n" not in result.message
    assert (result.params, result.best_epoch, len(result.history)) == (STEPS, 1, 1)


@pytest.mark.parametrize("step", range(STEPS))
def test_a_state_of_no_numbers_is_never_the_best(step):
    """Not even if evaluation, as a score of NaN logits may be, is better than before."""
    runner = counting_runner(losses=[0.0] * (STEPS + step) + [np.nan])
    result = run(epochs=2, runner=runner, evaluate=scripted("f1", [0.5, 0.9]))
    assert (result.ending, result.best, result.params) == ("not finite", 0.5, STEPS)


@pytest.mark.parametrize("scores", [{"f1": np.nan}, {"f1": 0.9, "loss": np.nan}, {"f1": np.inf}])
def test_an_evaluation_that_is_not_finite_stops_and_keeps_the_best(scores):
    found = iter([{"f1": 0.5, "loss": 1.0}, scores])
    result = run(evaluate=lambda params: next(found))
    assert result.ending == "not finite"
    assert "when evaluated after epoch 2: use a lower --learning-rate" in result.message
    assert (result.params, result.best) == (STEPS, 0.5)
    assert len(result.history) == 2


def test_nothing_is_best_if_the_first_evaluation_is_not_finite():
    result = run(evaluate=scripted("f1", [np.nan]))
    assert (result.ending, result.best) == ("not finite", None)


def interrupting(presses: int = 1):
    """Press Ctrl-C in the second step of the second epoch."""

    def before(step):
        if step == STEPS + 1:
            for _ in range(presses):
                signal.raise_signal(signal.SIGINT)

    return before


def test_ctrl_c_in_a_step_keeps_the_state_after_it():
    result = run(runner=counting_runner(before=interrupting()))
    assert result.ending == "interrupted"
    assert result.message == "stopped in epoch 2 at step 2"
    assert result.params == STEPS + 2
    assert result.steps == STEPS + 2
    assert len(result.history) == 1


def test_ctrl_c_in_a_step_keeps_the_best_state():
    runner = counting_runner(before=interrupting())
    result = run(runner=runner, evaluate=scripted("f1", [0.5]))
    assert (result.ending, result.params, result.best) == ("interrupted", STEPS, 0.5)


def test_ctrl_c_in_an_evaluation_keeps_what_it_found():
    def evaluate(params):
        signal.raise_signal(signal.SIGINT)
        return {"f1": 0.5}

    result = run(evaluate=evaluate)
    assert (result.ending, result.params, result.best) == ("interrupted", STEPS, 0.5)


def test_ctrl_c_after_a_step_that_was_not_finite_keeps_the_best():
    runner = counting_runner([0.0] * STEPS + [np.nan], before=interrupting())
    result = run(runner=runner, evaluate=scripted("f1", [0.5]))
    assert (result.ending, result.params) == ("not finite", STEPS)


def test_a_second_ctrl_c_stops_at_once_and_gives_the_signal_back():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(runner=counting_runner(before=interrupting(presses=2)))
    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_gives_the_signal_back():
    before = signal.getsignal(signal.SIGINT)

    def evaluate(params):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(evaluate=evaluate)
    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_leaves_no_snapshot_half_written(tmp_path):
    closed = []

    class Watched(Snapshots):
        def close(self):
            closed.append(True)
            super().close()

    with pytest.raises(ZeroDivisionError):
        fit(
            LoopConfig(1, STEPS),
            counting_runner(),
            state(),
            lambda epoch: (1 / 0 for _ in range(1)),
            snapshots=Watched(tmp_path / "snapshots", {}),
        )
    assert closed


def test_a_metric_that_evaluate_does_not_give_is_named():
    with pytest.raises(ValueError, match="evaluate gave accuracy: 'f1' is not among them"):
        run(evaluate=scripted("accuracy", [1.0]))


def test_the_metrics_of_evaluate_may_be_arrays():
    result = run(epochs=1, evaluate=lambda params: {"f1": params / 8})
    assert result.history == [{"epoch": 1, "train_loss": 1, "f1": 0.5}]
    assert type(result.best) is float


def test_progress_shows_the_loss_at_each_look_and_a_line_an_epoch(capsys):
    progress = Progress()
    runner = counting_runner(losses=range(2 * STEPS))
    config = LoopConfig(2, STEPS, "f1", log_every=2)
    fit(config, runner, state(), batches, scripted("f1", [0.5, 0.25]), progress=progress)
    progress.close()
    shown = capsys.readouterr().err
    assert "epoch 1: train_loss 1.5000, f1 0.5000" in shown
    assert "epoch 2: train_loss 5.5000, f1 0.2500" in shown
    last = shown.split("\r")[-1]
    assert "8/8" in last
    assert "loss 7.000" in last
