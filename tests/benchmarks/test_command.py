from dataclasses import dataclass

import pytest

from benchmarks.command import check_counts, run_command
from benchmarks.processes import ProgramError
from bertjax.errors import UserError


@dataclass(frozen=True)
class Config:
    """Settings."""

    batch_size: int = 1
    """Texts a step."""
    seeds: int = 0
    """Trainings."""


def test_a_count_below_one_is_told_by_its_flag() -> None:
    check_counts(Config(), "batch_size")
    with pytest.raises(UserError, match="--batch-size must be at least 1, found -2"):
        check_counts(Config(batch_size=-2), "batch_size", "seeds")


def test_a_mistake_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    def run(config: Config) -> None:
        check_counts(config, "seeds")

    assert run_command("example", Config, run, ["--seeds", "3"]) == 0
    assert run_command("example", Config, run, []) == 2
    assert capsys.readouterr().err == ("benchmarks.example: --seeds must be at least 1, found 0\n")
    assert run_command("example", Config, lambda config: 1, ["--seeds", "3"]) == 1


def test_a_child_that_fails_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    output = """Traceback (most recent call last):
  File "train.py", line 3, in <module>
RuntimeError: out of memory
--------------------
For simplicity, JAX has removed its internal frames.
"""

    def run(config: Config) -> None:
        raise ProgramError("benchmarks.children.train_torch ended with status 1", output)

    assert run_command("training", Config, run, []) == 2
    assert capsys.readouterr().err == (
        "benchmarks.training: benchmarks.children.train_torch ended with status 1: "
        "RuntimeError: out of memory\n"
    )


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("", "it printed nothing"),
        ("bertjax: there is no file 'a'\n\n", "bertjax: there is no file 'a'"),
    ],
)
def test_without_an_exception_the_last_line_tells(output: str, line: str) -> None:
    assert ProgramError("a server did not start", output).line == f"a server did not start: {line}"
