"""What went wrong in a process of the cluster, as the one line that a user can act on."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from traceback import clear_frames

from bertjax.errors import UserError

_ADVICE = ("Failed to apply", "To change retry attempts")  # Ray Data's, below an error's own lines
_INNER = ("cause", "controller_failure", "health_check_failure")  # of Ray's errors
_MEMORY = ("OutOfMemory", "MemoryError", "RESOURCE_EXHAUSTED")
LESS = "use fewer --workers, a smaller --batch-size or --max-length, or machines with more"


@contextmanager
def told_in_one_line(
    what: str, kept: Callable[[], str] = str, remedy: str = LESS
) -> Iterator[None]:
    """Turn what Ray raises into a UserError: that of a task or worker, if it raised one.

    Args:
        what: was done, for the message.
        kept: gives what is still there, and how to go on.
        remedy: where memory ran out.
    """
    from ray.exceptions import RayError
    from ray.train import TrainingFailedError

    try:
        yield
    except (RayError, TrainingFailedError) as error:
        told = user_error(error, what, kept(), remedy)
        _let_go(error)
        raise told from error


def _let_go(error: BaseException) -> None:
    """Free what an error holds of this process: a Ray dataset, whose actors keep their cores.

    The traceback of the process that failed stands in Ray's message.
    """
    for cause in _causes(error):
        clear_frames(cause.__traceback__)
        cause.__context__ = None  # was handled in Ray's own thread
    gc.collect()


def user_error(error: BaseException, what: str, kept: str = "", remedy: str = LESS) -> UserError:
    """See `told_in_one_line`."""
    from ray.exceptions import WorkerCrashedError

    causes = list(_causes(error))
    for cause in reversed(causes):  # what Ray makes of a UserError is one too, with a traceback
        if isinstance(cause, UserError):
            line = str(cause).split("\n", 1)[0]  # the rest is Ray Data's advice
            return UserError(f"{line}{kept}")
    if any(_is_out_of_memory(cause) for cause in causes):
        return UserError(f"{what} ran out of memory: {remedy}{kept}")
    if any(isinstance(cause, WorkerCrashedError) or _is_killed(cause) for cause in causes):
        line = f"{what} lost a process, most likely because the system has no memory left"
        return UserError(f"{line}: {remedy}{kept}")
    return UserError(f"{what} failed ({_last_line(causes[-1])}){kept}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came from, the innermost last."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        found = waiting.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        inner = [found.__cause__, *(getattr(found, name, None) for name in _INNER)]
        inner += getattr(found, "worker_failures", {}).values()
        waiting += [cause for cause in inner if isinstance(cause, BaseException)]


def _is_killed(error: BaseException) -> bool:
    """Whether an actor died that had begun its work."""
    from ray.exceptions import ActorDiedError

    return isinstance(error, ActorDiedError) and not error.actor_init_failed


def _is_out_of_memory(error: BaseException) -> bool:
    from ray.exceptions import OutOfMemoryError

    if isinstance(error, OutOfMemoryError | MemoryError):
        return True
    # Without the lines of source that a traceback shows, which may speak of anything.
    told = [line for line in str(error).splitlines() if not line.startswith(" ")]
    return any(sign in line for line in told for sign in _MEMORY)


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line and not line.startswith(_ADVICE)]
    return lines[-1] if lines else type(error).__name__
