import pytest

from benchmarks import training


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--rounds", "0"], "--rounds must be at least 1, found 0"),
        (["--shapes", "base"], "'base' is no shape: write MODEL-TEXTSxTOKENS"),
    ],
)
def test_a_mistake_is_one_line(arguments, expected, capsys: pytest.CaptureFixture[str]) -> None:
    assert training.main(arguments) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"benchmarks.training: {expected}")
    assert shown.count("\n") == 1
