"""What went wrong in a process of the cluster, as the one line that a user can act on."""

from collections.abc import Iterator
from contextlib import contextmanager

from bertjax.errors import UserError


@contextmanager
def told_in_one_line(what: str, kept: str = "") -> Iterator[None]:
    """Turn what Ray raises into a UserError: that of a task or worker, if it raised one.

    Args:
        what: was done, for the message.
        kept: what is still there, and how to go on.
    """
    from ray.exceptions import RayError
    from ray.train import TrainingFailedError

    try:
        yield
    except (RayError, TrainingFailedError) as error:
        raise user_error(error, what, kept) from error


def user_error(
    error: BaseException, what: str, kept: str = "", processes: str = "--workers"
) -> UserError:
    """See `told_in_one_line`; `processes` is the flag that says how many there are."""
    from ray.exceptions import RayError

    causes = list(_causes(error))
    for cause in causes:
        # Ray gives its own error the type of the one that a task raised, but a traceback as text.
        if isinstance(cause, UserError) and not isinstance(cause, RayError):
            return UserError(f"{cause}{kept}")
    if any(_is_out_of_memory(cause) for cause in causes):
        return UserError(
            f"{what} ran out of memory: use fewer {processes}, a smaller --batch-size or "
            f"--max-length, or machines with more{kept}"
        )
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

    return isinstance(error, OutOfMemoryError | MemoryError) or "OutOfMemory" in str(error)


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
