import fcntl
from pathlib import Path
from threading import Event, Thread

from benchmarks.children.timing import preparing, time_steps, timing


def test_none_is_timed_while_another_prepares(tmp_path: Path) -> None:
    lock, order, entered = str(tmp_path / "lock"), [], Event()

    def timed() -> None:
        entered.set()
        with timing(lock):
            order.append("timed")

    with preparing(lock), preparing(lock):  # two may
        thread = Thread(target=timed)
        thread.start()
        entered.wait()
        thread.join(0.05)  # long enough to go wrong
        order.append("prepared")
    thread.join()
    assert order == ["prepared", "timed"]


def test_steps_that_warm_up_disturb_no_other_child(tmp_path: Path) -> None:
    lock, held = str(tmp_path / "lock"), []

    def step() -> None:
        with open(lock) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                held.append(True)

    time_steps(step, lambda _: None, repeats=2, together=3, lock=lock)
    assert len(held) == 3 * 3


def test_a_time_is_the_mean_of_the_steps_that_are_waited_for_together(monkeypatch) -> None:
    clock, waited = [0.0], []
    monkeypatch.setattr("benchmarks.children.timing.time.perf_counter", lambda: clock[0])

    def step() -> float:
        clock[0] += 1.0
        return clock[0]

    def wait(result: float) -> None:
        waited.append(result)
        clock[0] += 0.5  # what the device is behind

    assert time_steps(step, wait, repeats=3, together=5) == [1.1] * 3
    assert len(waited) == 4  # one to warm up
    assert waited[0] == 5.0
