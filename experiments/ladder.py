"""Several ways to do one task, scored on the same rows, a line each."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import mean
from typing import Any, NamedTuple, TypeVar

import tyro
from tqdm import tqdm

from bertjax.cli import STYLE
from bertjax.errors import UserError
from bertjax.process import prepare_process

T = TypeVar("T")


class Line(NamedTuple):
    """A way to do it: means over the tasks."""

    name: str
    weighted_f1: float
    macro_f1: float
    seconds: float  # a task


def climb(
    rungs: Mapping[str, Callable[[T], Mapping[str, Any]]], tasks: Sequence[T], what: str
) -> list[Line]:
    """A line a rung, which gives the scores of a task; `what` stands before the progress bar."""
    lines = []
    for name, rung in tqdm(rungs.items(), desc=what):
        began = time.perf_counter()
        scores = [rung(task) for task in tasks]
        seconds = (time.perf_counter() - began) / len(scores)
        weighted, macro = (mean(s[key] for s in scores) for key in ("weighted_f1", "macro_f1"))
        lines.append(Line(name, weighted, macro, seconds))
    return lines


def main_of(
    name: str,
    config_type: type[T],
    run: Callable[[T], list[Line]],
    arguments: Sequence[str] | None,
) -> int:
    """The command `python -m experiments.NAME`: run it with its settings, and show its lines."""
    config = tyro.cli(
        config_type, prog=f"python -m experiments.{name}", args=arguments, config=STYLE
    )
    prepare_process()
    try:
        lines = run(config)
    except UserError as error:
        print(f"experiments.{name}: {error}", file=sys.stderr)
        return 2
    width = max(len(line.name) for line in lines)
    print(f"{'':{width}}  weighted F1  macro F1  seconds")
    for title, weighted, macro, seconds in lines:
        print(f"{title:{width}}  {weighted:11.3f}  {macro:8.3f}  {seconds:7.1f}")
    return 0
