import pytest

from benchmarks import speed
from benchmarks.processes import Child, ProgramError
from bertjax.errors import UserError


def record(who: str, seconds: list[float], peak: float = 1e12) -> dict[str, object]:
    return {
        "who": who,
        "precision": "float32",
        "call_s": seconds,
        "matmul_flops": peak,
        "first_s": 2.0,
        "peak_bytes": 3e9,
    }


def test_a_row_is_of_the_median_of_medians_and_the_first_side_is_ours() -> None:
    records = [
        record("bertjax", [0.1, 0.2, 9.0]),
        record("torch", [0.4, 0.4, 0.4]),
        record("torch", [0.3, 0.4, 7.0]),
        record("bertjax", [0.2, 0.1, 0.3]),
    ]
    assert speed.speed_rows(records, flops={"bertjax": 1e11, "torch": 1e11}.__getitem__) == [
        ["bertjax", "float32", "200.0 ms", "200.0 to 200.0", "1.00", "50%", "2.0 s", "3,000 MB"],
        ["torch", "float32", "400.0 ms", "400.0 to 400.0", "2.00", "25%", "2.0 s", "3,000 MB"],
    ]


def test_the_spread_is_of_the_medians_of_processes() -> None:
    records = [record("a", [0.1, 0.2, 9.0]), record("a", [0.3, 0.3, 0.1])]
    assert speed.spread(records, "call_s") == "200.0 to 300.0"
    assert speed.spread(records, "call_s", 1.0, 2) == "0.20 to 0.30"


def test_a_side_is_compared_with_bertjax_in_its_first_and_in_the_same_precision() -> None:
    ours = [record("bertjax", [0.1]) | {"precision": "bfloat16"}, record("bertjax", [0.4])]
    compared = speed.Compared([*ours, record("torch", [0.8])], "call_s")
    assert compared.columns() == ("ours is faster", "in the same precision")
    assert compared.cells(0.8, "float32") == ["8.00", "2.00"]
    assert compared.cells(0.8, "int8") == ["8.00", "-"]


def test_int8_has_no_share_of_a_peak() -> None:
    assert speed.share_of_peak(0.5, "int8") == "-"
    assert speed.share_of_peak(0.5, "float32") == "50%"


def test_none_is_begun_after_one_that_failed(monkeypatch) -> None:
    ran = []

    def run_child(module, settings, environment):
        ran.append(module)
        raise ProgramError("broken", "")

    monkeypatch.setattr(speed, "run_child", run_child)
    sides = [speed.Side(name, "float32", name) for name in "ab"]
    with pytest.raises(ProgramError):
        speed.measure("training", sides, {}, {}, 1, {}, quick=True)
    assert ran == ["a"]


def test_without_bertjax_nothing_is_compared_with_it() -> None:
    records = [record("ORT", [0.2]) | {"precision": "int8"}]
    assert speed.speed_rows(records, flops=lambda _: 1e11)[0][4] == "-"


def test_another_precision_is_another_side() -> None:
    records = [record("a", [1.0]), record("b", [2.0]), record("a", [3.0]) | {"precision": "int8"}]
    sides = speed.by_side(records)
    assert list(sides) == [("a", "float32"), ("b", "float32"), ("a", "int8")]
    assert speed.median_of(sides["a", "int8"], "call_s") == 3.0


def test_sides_take_turns_and_every_run_is_kept(monkeypatch, capsys) -> None:
    ran, kept = [], []

    def run_child(module, settings, environment):
        ran.append((module, settings, environment))
        return Child(
            {"call_s": [0.1], "device": "cpu"}, 1.0, 1, others_cores=0.9 if module == "two" else 0.0
        )

    monkeypatch.setattr(speed, "run_child", run_child)
    monkeypatch.setattr(speed, "append_record", lambda name, record: kept.append((name, record)))
    sides = [speed.Side("a", "float32", "one"), speed.Side("b", "int8", "two", {"compile": 1})]
    environment = {"X": "1"}
    records = speed.measure(
        "training", sides, {"shape": "tiny-2x8"}, {"texts": 2}, 2, environment, quick=True
    )
    assert [r[0] for r in ran] == ["one", "two", "two", "one"]
    assert ran[0][1:] == ({"texts": 2, "precision": "float32"}, environment)
    assert ran[1][1] == {"texts": 2, "precision": "int8", "compile": 1}
    assert records[0]["environment"] == environment
    assert [name for name, _ in kept] == ["training-quick"] * 4
    assert [(r["who"], r["precision"]) for r in records][:2] == [("a", "float32"), ("b", "int8")]
    assert records[0]["shape"] == "tiny-2x8"
    assert "texts" not in records[0]
    assert [r["others_cores"] for r in records] == [0.0, 0.9, 0.9, 0.0]
    assert "other programs kept up to 0.9 cores busy" in capsys.readouterr().out


def test_those_that_prepare_at_once_share_a_lock_and_memory_and_keep_their_order(
    monkeypatch, capsys
) -> None:
    locks, environments = [], []

    def run_child(module, settings, environment):
        locks.append(settings["lock"])
        environments.append(environment)
        return Child({"call_s": [0.1], "device": "cpu"}, 1.0, 1, others_cores=3.0)

    monkeypatch.setattr(speed, "run_child", run_child)
    monkeypatch.setattr(speed, "append_record", lambda name, record: None)
    sides = [speed.Side(name, "float32", "one") for name in "abc"]
    environment = {"X": "1"}
    records = speed.measure("training", sides, {}, {}, 1, environment, quick=True, at_once=3)
    assert [record["who"] for record in records] == ["a", "b", "c"]
    assert locks == [str(speed.LOCK)] * 3
    shared = {"X": "1", "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.300"}
    assert environments == [record["environment"] for record in records] == [shared] * 3
    assert "other programs" not in capsys.readouterr().out  # they were these


def test_sides_on_other_kinds_of_devices_are_not_compared() -> None:
    ours, theirs = {"who": "bertjax", "device": "H200"}, {"who": "torch", "device": "NVIDIA H200"}
    speed.check_one_device([ours, theirs])  # each library has its own name for one
    with pytest.raises(UserError, match="bertjax on cpu, torch on NVIDIA H200"):
        speed.check_one_device([ours | {"device": "cpu"}, theirs])
