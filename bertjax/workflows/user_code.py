"""A Python file of the user's (rules, slices, behavioural tests), run as any script of theirs."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from bertjax.errors import UserError

Kind = Literal["LabelingFunction", "SlicingFunction"]  # of Snorkel's

_EXTRAS = {"snorkel": "'bertjax[labels]'"}


def load_user_code(path: Path, what: str) -> ModuleType:
    """The module that the file makes; nothing is written beside it.

    The file may import what lies in its folder.

    Args:
        what: what is in it, for messages: `rules`.

    Raises:
        UserError: there is no such file, or it cannot be run; the message has the line.
    """
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"cannot read the {what} in {path}: {error.strerror}; give a Python file"
        ) from error
    module = ModuleType(f"_user_{path.stem}")  # no name of a module that there is
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # where dataclasses look for the names of its types
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except SyntaxError as error:
        where = f", line {error.lineno}" if error.lineno and error.filename == str(path) else ""
        raise UserError(f"{path}{where} is not Python: {error.msg}") from error
    except ModuleNotFoundError as error:
        raise UserError(_needs(path, error)) from error
    except (Exception, SystemExit) as error:
        raise UserError(f"{path}{line_of(error, path)} failed: {one_line(error)}") from error
    finally:
        sys.path.remove(folder)
    return module


def callables(module: ModuleType, prefix: str, kind: Kind) -> dict[str, Callable[[Any], Any]]:
    """By their names, in the order of the file: functions `prefix*`, and objects of Snorkel's.

    The latter are what its decorators make: callable, with a `name`. Those of another kind, and
    what prepares rows for them, are left out.

    Raises:
        UserError: two have one name.
    """
    found: dict[str, Callable[[Any], Any]] = {}
    for key, value in vars(module).items():
        if isinstance(value, type) or not callable(value) or _is_another(value, kind):
            continue
        made = getattr(value, "name", None)
        name = made if isinstance(made, str) else key
        if name is not made and not key.startswith(prefix):
            continue
        if found.setdefault(name, value) is not value:
            raise UserError(f"{module.__file__} has two of the name {name}: rename one")
    return found


def _is_another(value: Any, kind: Kind) -> bool:
    """By the names of Snorkel's classes; those for spaCy's texts have longer ones."""
    names = " ".join(base.__name__ for base in type(value).__mro__)
    if "BaseMapper" in names:
        return True
    if "SlicingFunction" in names:  # which are labeling functions too
        return kind != "SlicingFunction"
    return "LabelingFunction" in names and kind != "LabelingFunction"


def line_of(error: BaseException, path: Path) -> str:
    """`, line N` of the file in which the error came up, if that is known."""
    lines, trace = [], error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == str(path):
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return f", line {lines[-1]}," if lines else ""


def one_line(error: BaseException) -> str:
    """The error's type and what it says, in one line."""
    says = " ".join(str(error).split())
    return f"{type(error).__name__}: {says}" if says else type(error).__name__


def _needs(path: Path, error: ModuleNotFoundError) -> str:
    package = (error.name or "").partition(".")[0]
    if not package:
        return f"{path}{line_of(error, path)} failed: {one_line(error)}"
    wanted = _EXTRAS.get(package, package)
    return f"{path}{line_of(error, path)} imports {package}, which is missing: pip install {wanted}"
