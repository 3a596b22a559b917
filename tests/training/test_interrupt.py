import signal
import sys
import threading

import pytest

from bertjax.training.interrupt import interrupt_flag


def test_one_press_sets_the_flag_and_says_so(capsys):
    with interrupt_flag() as interrupted:
        assert not interrupted()
        signal.raise_signal(signal.SIGINT)
        assert interrupted()
    assert "stopping after this step (Ctrl-C again to stop at once)" in capsys.readouterr().err


def test_a_second_press_stops_at_once():
    with interrupt_flag():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_new_flag_is_not_set():
    with interrupt_flag():
        signal.raise_signal(signal.SIGINT)
    with interrupt_flag() as interrupted:
        assert not interrupted()


def test_the_handler_before_comes_back_after_an_error():
    before = signal.getsignal(signal.SIGINT)

    def fail():
        with interrupt_flag():
            assert signal.getsignal(signal.SIGINT) is not before
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_press_in_the_middle_of_a_print_is_no_error(monkeypatch):
    """Python refuses to write to a stream from within a write to it."""

    class Busy:
        def write(self, _text):
            raise RuntimeError("reentrant call inside <_io.BufferedWriter name='<stderr>'>")

    monkeypatch.setattr(sys, "stderr", Busy())
    with interrupt_flag() as interrupted:
        signal.raise_signal(signal.SIGINT)
        assert interrupted()


def test_in_another_thread_the_flag_is_never_set():
    found = []

    def ask():
        before = signal.getsignal(signal.SIGINT)
        with interrupt_flag() as interrupted:
            found.extend([interrupted(), signal.getsignal(signal.SIGINT) is before])

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert found == [False, True]
