"""What the first worker tells reaches the driver's listener, in its order."""

from queue import Empty, SimpleQueue

from ray.util import queue as ray_queue

from bertjax.cluster.job import Teller, deliver


class Queue:
    """Ray's, in this process: `get` raises Ray's Empty."""

    def __init__(self):
        self.sent = []
        self._waiting = SimpleQueue()

    def put(self, messages):
        self.sent.append(len(messages))
        self._waiting.put(messages)

    def get(self, timeout):
        try:
            return self._waiting.get(timeout=timeout)
        except Empty:
            raise ray_queue.Empty from None


class Listener:
    def __init__(self):
        self.heard = []

    def __getattr__(self, name):
        return lambda *arguments: self.heard.append((name, *arguments))


def test_all_that_was_told_is_heard_in_order():
    queue, listener = Queue(), Listener()
    teller = Teller(queue, 12)
    teller.say("line")
    teller.start(0, 4)
    seen = ((), (), ({"loss": 0.5},), ())
    for figures in seen:
        teller.step(7, figures)
    teller.epoch({"epoch": 1})
    deliver(queue, listener, lambda: True)
    assert listener.heard == [
        ("say", "line"),
        ("start", 0, 4),
        *[("step", 12, figures) for figures in seen],
        ("epoch", {"epoch": 1}),
    ]


def test_the_first_step_is_told_at_once_and_others_with_their_figures():
    queue = Queue()
    teller = Teller(queue, 12)
    for figures in ((), (), (), ({"loss": 0.5},), ()):
        teller.step(7, figures)
    assert queue.sent == [1, 3]


def test_what_comes_just_before_the_end_is_delivered():
    queue, listener = Queue(), Listener()
    answers = iter([False, True, True])

    def ended() -> bool:
        if (answer := next(answers)) and not listener.heard:
            Teller(queue, 12).say("last")
        return answer

    deliver(queue, listener, ended)
    assert listener.heard == [("say", "last")]
