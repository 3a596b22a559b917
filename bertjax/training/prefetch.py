"""Work done ahead in a thread, so that a training does not wait for its input."""

import threading
from collections.abc import Callable, Generator, Iterable
from queue import SimpleQueue
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")
U = TypeVar("U")


class _Made(NamedTuple, Generic[U]):
    value: U


class _Ended(NamedTuple):
    error: BaseException | None  # None: the source came to its end


def prefetch(
    source: Iterable[T], prepare: Callable[[T], U], ahead: int
) -> Generator[U, None, None]:
    """`map(prepare, source)`, both run in a thread that is at most `ahead` items in front.

    The thread starts when the first item is asked for. It ends with the source, with an error, or
    when the generator is closed (`contextlib.closing`), which waits for the item being made.

    Raises:
        What source or prepare raise, once the items before it were taken.
    """
    made: SimpleQueue[_Made[U] | _Ended] = SimpleQueue()
    room = threading.Semaphore(ahead)
    closed = threading.Event()

    def make() -> None:
        items = iter(source)
        while True:
            room.acquire()
            if closed.is_set():
                return
            try:
                item = next(items)
            except StopIteration:
                return
            made.put(_Made(prepare(item)))

    def work() -> None:
        error = None
        try:
            make()
        except BaseException as raised:  # it is raised again where the items are taken
            error = raised
        made.put(_Ended(error))

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while isinstance(found := made.get(), _Made):
            room.release()
            yield found.value
        if found.error is not None:
            raise found.error
    finally:
        closed.set()
        room.release()  # the thread may be waiting for room
        thread.join()
