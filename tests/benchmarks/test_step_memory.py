import pytest

from benchmarks import step_memory
from benchmarks.shapes import Shape


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_memory, "use_cores", lambda _: None)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--rounds", "0"], "--rounds must be at least 1, found 0"),
        (["--shapes", "base"], "'base' is no shape: write MODEL-TEXTSxTOKENS"),
        (
            ["--shapes", "base-8x128", "tiny-6x8"],
            "tiny-6x8 cannot be cut into 4 parts: its texts must be 4, 8, 12 ...",
        ),
    ],
)
def test_a_mistake_is_one_line(arguments, expected, capsys: pytest.CaptureFixture[str]) -> None:
    assert step_memory.main(arguments) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"benchmarks.step_memory: {expected}")
    assert shown.count("\n") == 1


def record(who: str, seconds: float, temporary: float) -> dict[str, object]:
    return {
        "who": who,
        "precision": "float32",
        "call_s": [seconds],
        "trace_s": 1.0,
        "compile_s": 4.0,
        "temporary_bytes": temporary,
        "matmul_flops": 3 * Shape("tiny", 4, 8).forward_flops(first_only=True) / 0.1,
        "peak_bytes": 3e9,
    }


def test_each_option_stands_beside_the_plain_step() -> None:
    records = [
        record("plain", 0.2, 2e9),
        record("accumulation 2", 0.25, 1e9),
        record("accumulation 2", 0.23, 1e9),
        record("plain", 0.2, 2e9),
    ]
    shared = ("1.0 s", "4.0 s")
    assert step_memory.option_rows(records, Shape("tiny", 4, 8)) == [
        ["plain", "200.0 ms", "1.00", "50%", *shared, "2,000 MB", "1.00", "3,000 MB"],
        ["accumulation 2", "240.0 ms", "1.20", "42%", *shared, "1,000 MB", "0.50", "3,000 MB"],
    ]


def test_memory_and_time_are_drawn_with_the_plain_step_in_colour() -> None:
    records = [record("plain", 0.2, 2e9), record("accumulation 2", 0.25, 1e9)]
    memory, time = step_memory.option_panels("tiny-4x8", records)
    assert [(bar.label, bar.ours) for bar in memory.bars] == [
        ("accumulation 2", False),
        ("plain", True),
    ]
    assert memory.cells([bar.value for bar in memory.bars]) == ["1,000 MB", "2,000 MB"]
    assert [bar.value for bar in time.bars] == [0.2, 0.25]
