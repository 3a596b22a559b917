"""The settings of a fine-tuning by the names of their flags, wherever they are nested.

Values come from files and from texts as well: they are converted to the type of their setting.
"""

from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from bertjax.errors import UserError
from bertjax.workflows.configs import FinetuneConfig


@cache
def setting_types() -> dict[str, Any]:
    """The type of each setting, those of nested dataclasses among them."""
    found: dict[str, Any] = {}
    for name, kind in get_type_hints(FinetuneConfig).items():
        found |= get_type_hints(kind) if is_dataclass(kind) else {name: kind}
    return found


def flat_settings(config: FinetuneConfig) -> dict[str, Any]:
    """The value of each setting."""
    found: dict[str, Any] = {}
    for entry in fields(config):
        value = getattr(config, entry.name)
        if is_dataclass(value):
            found |= {inner.name: getattr(value, inner.name) for inner in fields(value)}
        else:
            found[entry.name] = value
    return found


def with_settings(config: FinetuneConfig, values: dict[str, Any]) -> FinetuneConfig:
    """The config with other values of some settings, which are of the right type."""
    changes: dict[str, Any] = {}
    for entry in fields(config):
        value = getattr(config, entry.name)
        if is_dataclass(value) and not isinstance(value, type):
            inner = {e.name: values[e.name] for e in fields(value) if e.name in values}
            changes[entry.name] = replace(value, **inner)
        elif entry.name in values:
            changes[entry.name] = values[entry.name]
    return replace(config, **changes)


def convert(name: str, value: Any) -> Any:
    """A value of JSON, of numpy, or a text, as one of the type of the setting `name`.

    Raises:
        UserError: it cannot be one.
    """
    kind = setting_types()[name]
    options = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    for option in options:
        try:
            return _convert(value, option)
        except (OverflowError, TypeError, ValueError):
            continue
    raise UserError(f"{name} is {value!r}, but must be {_describe(options)}")


def _convert(value: Any, kind: Any) -> Any:
    """Raises OverflowError, TypeError or ValueError if the value is not of the kind."""
    if get_origin(kind) is Literal:
        return get_args(kind)[get_args(kind).index(value)]
    if get_origin(kind) is tuple:
        return (value,) if isinstance(value, str) else tuple(_to_text(part) for part in value)
    return _KINDS[kind].convert(value)


def _to_none(value: Any) -> None:
    if value is not None:
        raise TypeError


def _to_bool(value: Any) -> bool:
    return value if isinstance(value, bool) else bool(("false", "true").index(value))


def _to_int(value: Any) -> int:
    if isinstance(value, bool) or (not isinstance(value, str) and value != int(value)):
        raise TypeError
    return int(value)


def _to_float(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError
    return float(value)


def _to_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


class _Kind(NamedTuple):
    convert: Callable[[Any], Any]
    description: str


_KINDS: dict[Any, _Kind] = {
    NoneType: _Kind(_to_none, "null"),
    bool: _Kind(_to_bool, "true or false"),
    int: _Kind(_to_int, "a whole number"),
    float: _Kind(_to_float, "a number"),
    str: _Kind(_to_text, "a text"),
    Path: _Kind(lambda value: Path(_to_text(value)), "a path"),
}


def _describe(kinds: Iterable[Any]) -> str:
    parts = []
    for kind in kinds:
        if get_origin(kind) is Literal:
            parts += map(str, get_args(kind))
        else:
            parts.append(_KINDS[kind].description if kind in _KINDS else "a list of texts")
    return " or ".join(parts)
