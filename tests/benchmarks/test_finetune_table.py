from typing import Any

from benchmarks.finetune_table import FIRST, GROUPED, PADDED, SECOND, by_who, sides_rows

SECONDS = {FIRST: 40.0, SECOND: 30.0, PADDED: 60.0, GROUPED: 50.0}


def record(who: str, scale: float = 1.0, score: float = 0.9) -> dict[str, Any]:
    seconds = SECONDS[who] * scale
    own = {"step_trace_s": 2.0, "step_compile_s": 6.0, "compile_s": 8.0, "input_wait_share": 0.012}
    return {
        "who": who,
        "wall_s": seconds,
        "train_s": seconds / 2,
        "epoch_s": seconds / 10,
        "weighted_f1": score,
        "train_tokens": 500,
        "epochs": 4,
        "peak_bytes": 2e9 if who == FIRST else 1e9,
        **(own if who in (FIRST, SECOND) else {}),
    }


def test_sides_stand_in_one_order_whichever_was_first() -> None:
    found = by_who([record(who) for who in (GROUPED, FIRST, SECOND, PADDED)])
    assert list(found) == [FIRST, SECOND, PADDED, GROUPED]
    assert [own[0]["wall_s"] for own in found.values()] == [40.0, 30.0, 60.0, 50.0]


def test_figures_are_medians_and_ratios_are_to_each_trainer() -> None:
    records = [record(who, scale) for scale in (1.0, 9.0, 0.5) for who in SECONDS]
    rows = sides_rows(records)
    assert rows[:3] == [
        ["whole process", "40.00 s", "30.00 s", "60.00 s", "50.00 s"],
        ["whole process: first run / theirs", "", "", "0.67", "0.80"],
        ["whole process: second run / theirs", "", "", "0.50", "0.60"],
    ]
    table = {row[0]: row[1:] for row in rows}
    assert table["peak memory: first run / theirs"] == ["", "", "2.00", "2.00"]
    assert table["tokens a second: first run / theirs"] == ["", "", "1.50", "1.25"]
    assert table["tokens a second: second run / theirs"] == ["", "", "2.00", "1.67"]
    assert len(table) == len(rows)  # no two have one name
    assert table["real tokens a second of it"] == ["100", "133", "67", "80"]
    assert {len(row) for row in rows} == {5}


def test_what_a_side_does_not_tell_is_a_dash() -> None:
    table = {row[0]: row[1:] for row in sides_rows([record(who) for who in SECONDS])}
    assert table["the step: compiling"] == ["6.00 s", "6.00 s", "-", "-"]
    assert table["waiting for batches"] == ["1.2%", "1.2%", "-", "-"]
    assert table["of peak, in such an epoch"] == ["-"] * 4


def test_the_share_of_the_peak_is_of_an_epochs_real_tokens() -> None:
    """500 tokens of 8e6 in 4 s are 1e9 a second, a quarter of the peak."""
    told = {"flops_a_token": 8e6, "matmul_flops": 4e9}
    table = {row[0]: row[1:] for row in sides_rows([record(who) | told for who in SECONDS])}
    assert table["of peak, in such an epoch"] == ["25%", "33%", "17%", "20%"]


def test_the_score_is_the_mean() -> None:
    records = [record(who, score=score) for score in (0.8, 0.81, 0.94) for who in SECONDS]
    table = {row[0]: row[1:] for row in sides_rows(records)}
    assert table["weighted F1, mean"] == ["0.8500"] * 4
    assert table["weighted F1, range"] == ["0.8000-0.9400"] * 4
