"""Errors of MLflow and of what it stands on, in few words."""

import re

_LONGEST = 200  # characters of a reason

# What may be gone when it is tried again. MLflow tells of a server that does not answer as an
# internal error, and of a database that is locked as one that is unavailable.
_PERMANENT = (
    *("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "UNAUTHENTICATED", "INVALID_STATE", "BAD_REQUEST", "NOT_FOUND"),
)


def is_lasting(error: Exception) -> bool:
    """Whether trying again is of no use."""
    return getattr(error, "error_code", None) in _PERMANENT or isinstance(
        error, PermissionError | FileNotFoundError | ImportError
    )


def reason_of(error: BaseException) -> str:
    """The part of a message that says why, in one line."""
    found: BaseException = error
    while (cause := getattr(found, "orig", None) or getattr(found, "reason", None)) is not None:
        if not isinstance(cause, BaseException):
            break
        found = cause
    text = str(found).strip()
    # Of a chain that requests has put into one text, the innermost says it.
    if refused := re.search(r"Connection refused|timed out|Name or service not known", text):
        return refused[0].lower()
    if operational := re.search(r"\(\w+\.\w+\) ([^\n]+)", text):
        text = operational[1]
    line = (text.splitlines() or [""])[0]
    return line[:_LONGEST] or type(found).__name__
