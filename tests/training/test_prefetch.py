import threading
from contextlib import closing

import pytest

from bertjax.training.prefetch import prefetch

DEADLINE = 60  # seconds; a bound on waiting for another thread, not a claim on speed


class Counted:
    """0, 1, ... to `end`; `wait_for(n)` returns when n of them were asked for."""

    def __init__(self, end: int, error: Exception | None = None):
        self.end, self.error = end, error
        self.asked = 0
        self._changed = threading.Condition()

    def __iter__(self):
        for number in range(self.end):
            with self._changed:
                self.asked += 1
                self._changed.notify_all()
            yield number
        if self.error is not None:
            raise self.error

    def wait_for(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.asked >= count, DEADLINE)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    yield
    assert threads() == []


@pytest.mark.parametrize("ahead", [1, 2, 100])
def test_all_items_come_prepared_and_in_order(ahead):
    assert list(prefetch(range(50), str, ahead)) == [str(n) for n in range(50)]


def test_no_items_are_none():
    assert list(prefetch([], str, 2)) == []


def test_none_is_an_item():
    assert list(prefetch([None, 0, None], lambda item: item, 2)) == [None, 0, None]


def test_source_and_preparation_run_in_another_thread():
    def whose(_=None):
        return threading.current_thread().name

    def source():
        yield whose()

    assert list(prefetch(source(), lambda name: (name, whose()), 1)) == [("prefetch", "prefetch")]


@pytest.mark.parametrize("ahead", [1, 3])
def test_so_many_are_made_ahead_and_no_more(ahead):
    source = Counted(100)
    # What is being taken tells how many had been made: none after the last that there is room for.
    with closing(prefetch(source, lambda n: n, ahead)) as items:
        for taken in range(20):
            assert next(items) == taken
            source.wait_for(taken + 1 + ahead)
            assert source.asked <= taken + 1 + ahead


def test_the_thread_starts_with_the_first_item_that_is_asked_for():
    source = Counted(3)
    items = prefetch(source, str, 2)
    assert source.asked == 0
    assert threads() == []
    assert next(items) == "0"
    items.close()


def test_an_error_of_the_source_comes_after_the_items_before_it():
    items = prefetch(Counted(2, ZeroDivisionError("of the source")), str, 8)
    assert [next(items), next(items)] == ["0", "1"]
    with pytest.raises(ZeroDivisionError, match="of the source"):
        next(items)


def test_an_error_of_the_preparation_comes_in_its_place():
    items = prefetch([1, 0, 2], lambda n: 1 // n, 8)
    assert next(items) == 1
    with pytest.raises(ZeroDivisionError):
        next(items)
    assert list(items) == []


def test_an_error_shows_where_it_was_raised():
    def broken(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as error:
        next(prefetch([1], broken, 1))
    assert "broken" in [entry.name for entry in error.traceback]


@pytest.mark.parametrize("taken", [1, 5])
def test_closing_ends_the_thread_that_waits_for_room(taken):
    source = Counted(10**9)
    items = prefetch(source, str, 2)
    for _ in range(taken):
        next(items)
    source.wait_for(taken + 2)
    items.close()
    assert threads() == []
    assert source.asked == taken + 2


def test_closing_waits_for_the_item_being_made():
    begun, go_on, ended = threading.Event(), threading.Event(), []

    def source():
        yield 0
        begun.set()
        assert go_on.wait(DEADLINE)
        ended.append(True)
        yield 1

    items = prefetch(source(), str, 2)
    next(items)
    assert begun.wait(DEADLINE)
    go_on.set()
    items.close()
    assert ended == [True]


def test_an_error_where_the_items_are_used_ends_the_thread():
    def use():
        with closing(prefetch(Counted(10**9), str, 2)) as items:
            for _ in items:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use()


def test_the_next_item_is_made_while_one_is_used():
    source = Counted(10)
    used = []
    for number, item in enumerate(prefetch(source, str, 1)):
        if number < 9:
            source.wait_for(number + 2)  # it fails if the thread waits for this loop
        used.append(item)
    assert used == [str(number) for number in range(10)]
