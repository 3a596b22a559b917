from typing import Any

import pytest

from benchmarks.quality_table import (
    OURS,
    THEIRS,
    best_cell,
    cost_panels,
    print_grid,
    seeds_rows,
)


def grid_record(rate: float, epochs: int, score: float) -> dict[str, Any]:
    return {"learning_rate": rate, "epochs": epochs, "weighted_f1": score, "wall_s": 50.0}


def seed_record(who: str, seed: int, score: float, seconds: float) -> dict[str, Any]:
    times = dict.fromkeys(("wall_s", "train_s", "epoch_s", "compile_s"), seconds)
    return {"who": who, "seed": seed, "weighted_f1": score, "peak_bytes": 2e9, **times}


def test_the_best_cell_has_the_highest_mean_and_not_the_highest_score() -> None:
    grid = [
        *(grid_record(1e-4, 4, 0.90), grid_record(1e-4, 4, 0.96)),
        *(grid_record(2e-4, 4, 0.94), grid_record(2e-4, 4, 0.94)),
    ]
    assert best_cell(grid) == (2e-4, 4)


def test_of_equal_cells_the_shorter_training_is_best() -> None:
    assert best_cell([grid_record(1e-4, 6, 0.9), grid_record(1e-4, 4, 0.9)]) == (1e-4, 4)


def test_the_grid_is_printed_by_cell(capsys: pytest.CaptureFixture[str]) -> None:
    print_grid([grid_record(1e-4, 4, 0.90), grid_record(1e-4, 4, 0.96)])
    line = next(line for line in capsys.readouterr().out.splitlines() if "0.0001" in line)
    assert line.split() == ["0.0001", "4", "0.9300", "0.9000,", "0.9600", "50.0", "s"]


def test_sides_are_compared_by_seed_whichever_was_first() -> None:
    rows = seeds_rows(
        [
            *(seed_record(OURS, 0, 0.95, 20.0), seed_record(THEIRS, 0, 0.94, 50.0)),
            *(seed_record(THEIRS, 1, 0.92, 54.0), seed_record(OURS, 1, 0.91, 30.0)),
        ]
    )
    table = {row[0]: row[1:] for row in rows}
    assert table["weighted F1, seed 1"] == ["0.9100", "0.9200", "-0.0100"]
    assert table["weighted F1, mean"] == ["0.9300", "0.9300", "+0.0000"]
    assert table["weighted F1, range"] == ["0.9100-0.9500", "0.9200-0.9400", ""]
    assert table["weighted F1, standard deviation"] == ["0.0283", "0.0141", ""]
    assert table["whole process"] == ["25.00 s", "52.00 s", "0.48"]
    assert table["peak memory"] == ["2,000 MB", "2,000 MB", "1.00"]


def test_one_seed_makes_a_table_too() -> None:
    rows = seeds_rows([seed_record(OURS, 0, 0.9, 1.0), seed_record(THEIRS, 0, 0.9, 2.0)])
    assert ["weighted F1, standard deviation", "0.0000", "0.0000", ""] in rows


def test_cost_is_drawn_with_the_score_beside_it() -> None:
    wall, memory = cost_panels(
        [seed_record(OURS, 0, 0.92, 20.0), seed_record(THEIRS, 0, 0.91, 50.0)]
    )
    assert [(bar.label, bar.value) for bar in wall.bars] == [
        ("bertjax, F1 0.920", 20.0),
        ("transformers Trainer, F1 0.910", 50.0),
    ]
    assert memory.cells([bar.value for bar in memory.bars]) == ["2,000 MB", "2,000 MB"]
