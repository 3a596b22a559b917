import pytest

from benchmarks import loading
from benchmarks.processes import PROCESSOR, Child


def result(seconds: float, extra: float) -> dict[str, float]:
    times = {"load_s": seconds, "load_and_read_s": 2 * seconds, "load_and_read_cpu_s": 3 * seconds}
    return times | {"extra_peak_bytes": extra}


def test_rows_are_of_medians() -> None:
    runs = {
        "bertjax": [result(0.3, 44e6), result(0.1, 44e6), result(9.0, 44e6)],
        "transformers": [result(0.4, 20e6), result(0.6, 40e6), result(0.6, 60e6)],
    }
    assert loading.table_rows(runs, 40_000_000) == [
        ["load", "0.300 s", "0.600 s", "0.50"],
        ["load, every weight read once", "0.600 s", "1.200 s", "0.50"],
        ["the same, time of the processor", "0.900 s", "1.800 s", "0.50"],
        ["extra peak memory", "44 MB", "40 MB", "1.10"],
        ["extra peak memory / file", "1.10", "1.00", ""],
    ]


def test_time_and_memory_are_drawn() -> None:
    runs = {"transformers": [result(0.4, 20e6)], "bertjax": [result(0.3, 44e6)]}
    time, memory = loading.panels(runs)
    assert [(bar.label, bar.value, bar.ours) for bar in time.bars] == [
        ("bertjax", 0.6, True),
        ("transformers", 0.8, False),
    ]
    assert [bar.label for bar in memory.bars] == ["transformers", "bertjax"]
    assert memory.cells([bar.value for bar in memory.bars]) == ["20 MB", "44 MB"]


def test_a_mistake_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert loading.main(["--repeats", "0"]) == 2
    assert capsys.readouterr().err == (
        "benchmarks.loading: --repeats must be at least 1, found 0\n"
    )


def test_both_load_on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(loading, "run_child", lambda *given: asked.append(given) or Child({}, 1, 1))
    loading._measure("folder", 2)
    assert [module for module, *_ in asked] == [
        *("load_bertjax", "load_transformers"),
        *("load_transformers", "load_bertjax"),
    ]
    assert all(environment == PROCESSOR for *_, environment in asked)


def test_other_weights_than_the_peers_are_an_error() -> None:
    runs = {"bertjax": [{"sum": 100.0}], "transformers": [{"sum": 100.0}]}
    loading._check_equal_sums(runs)
    runs["bertjax"].append({"sum": 101.0})
    with pytest.raises(RuntimeError, match="differ"):
        loading._check_equal_sums(runs)
