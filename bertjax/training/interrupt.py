"""Ctrl-C as a question that the loop asks between steps, so that no state is lost in a step."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def interrupt_flag() -> Iterator[Callable[[], bool]]:
    """A function that says whether Ctrl-C was pressed; the second one raises KeyboardInterrupt.

    Outside the main thread, where Python delivers no signals, it always says no.
    """
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed.is_set
        return

    def on_interrupt(_signal, _frame) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()
        with suppress(RuntimeError):  # the signal came in the middle of a print to the same stream
            print("\nstopping after this step (Ctrl-C again to stop at once)", file=sys.stderr)

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)
