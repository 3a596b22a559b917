from benchmarks import speed


def record(who: str, seconds: list[float], peak: float = 1e12) -> dict[str, object]:
    return {
        "who": who,
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
    assert speed.speed_rows(records, flops=1e11) == [
        ["bertjax", "200.0 ms", "1.00", "50%", "2.0 s", "3,000 MB"],
        ["torch", "400.0 ms", "2.00", "25%", "2.0 s", "3,000 MB"],
    ]


def test_sides_take_turns_and_every_run_is_kept(monkeypatch) -> None:
    ran, kept = [], []

    def run_child(module, settings, environment):
        ran.append((module, settings["precision"], settings["compile"], environment))
        return type("Child", (), {"result": {"call_s": [0.1]}})

    monkeypatch.setattr(speed, "run_child", run_child)
    monkeypatch.setattr(speed, "append_record", lambda name, record: kept.append((name, record)))
    sides = [speed.Side("a", "one", {"compile": 0}), speed.Side("b", "two", {"compile": 1})]
    shape = speed.Shape("tiny", 2, 8)
    environment = {"X": "1"}
    records = speed.measure(
        "training", shape, sides, {"precision": "float32"}, 2, environment, quick=True
    )
    assert [r[0] for r in ran] == ["one", "two", "two", "one"]
    assert ran[0] == ("one", "float32", 0, environment)
    assert [name for name, _ in kept] == ["training-quick"] * 4
    assert [r["who"] for r in records] == ["a", "b", "b", "a"]
    assert records[0]["shape"] == "tiny-2x8"
