"""What went wrong in a process of the cluster, as the one line that a user can act on."""

from collections.abc import Iterator
from contextlib import contextmanager

from bertjax.errors import UserError

_ADVICE = ("Failed to apply", "To change retry attempts")  # Ray Data's, below an error's own lines
LESS = "use fewer --workers, a smaller --batch-size or --max-length, or machines with more"


@contextmanager
def told_in_one_line(what: str, kept: str = "", remedy: str = LESS) -> Iterator[None]:
    """Turn what Ray raises into a UserError: that of a task or worker, if it raised one.

    Args:
        what: was done, for the message.
        kept: what is still there, and how to go on.
        remedy: where memory ran out.
    """
    from ray.exceptions import RayError
    from ray.train import TrainingFailedError

    try:
        yield
    except (RayError, TrainingFailedError) as error:
        raise user_error(error, what, kept, remedy) from error


def user_error(error: BaseException, what: str, kept: str = "", remedy: str = LESS) -> UserError:
    """See `told_in_one_line`."""
    causes = list(_causes(error))
    for cause in reversed(causes):  # what Ray makes of a UserError is one too, with a traceback
        if isinstance(cause, UserError):
            line = str(cause).split("\n", 1)[0]  # the rest is Ray Data's advice
            return UserError(f"{line}{kept}")
    if any(_is_out_of_memory(cause) for cause in causes):
        return UserError(f"{what} ran out of memory: {remedy}{kept}")
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
        inner = [getattr(found, "cause", None), found.__cause__]
        inner += getattr(found, "worker_failures", {}).values()
        waiting += [cause for cause in inner if isinstance(cause, BaseException)]


def _is_out_of_memory(error: BaseException) -> bool:
    from ray.exceptions import OutOfMemoryError

    return isinstance(error, OutOfMemoryError | MemoryError) or any(
        sign in str(error) for sign in ("OutOfMemory", "MemoryError", "RESOURCE_EXHAUSTED")
    )


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line and not line.startswith(_ADVICE)]
    return lines[-1] if lines else type(error).__name__
