from dataclasses import dataclass

import pytest

from benchmarks.command import check_counts, run_command
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
