from benchmarks import tracking
from benchmarks.children.finetune_bertjax import _arguments


def test_a_row_says_how_much_more_a_tracked_training_takes() -> None:
    records = [
        {"who": who, "wall_s": wall, "train_s": train}
        for who, wall, train in (
            ("untracked", 20.0, 10.0),
            ("tracked", 21.0, 10.1),
            ("tracked", 23.0, 10.3),
            ("tracked", 20.0, 9.0),
            ("untracked", 19.0, 11.0),
            ("untracked", 30.0, 9.0),
        )
    ]
    assert tracking.rows_of(records) == [
        ["untracked", "20.00 s", "", "10.00 s", ""],
        ["tracked", "21.00 s", "+5.0%", "10.10 s", "+1.0%"],
    ]


def test_a_training_is_tracked_only_where_that_is_asked_for() -> None:
    settings = {"data": "sample", "text": ["text"], "label": "tag", "checkpoint": "c", "out": "o"}
    settings |= {"seed": 0, "epochs": None, "store": "sqlite:///here.db"}
    assert "--no-track" in _arguments({**settings, "tracked": False})
    assert "--no-track" in _arguments(settings)
    tracked = _arguments({**settings, "tracked": True})
    assert "--no-track" not in tracked
    assert tracked[tracked.index("--tracking-uri") + 1] == "sqlite:///here.db"


def test_a_mistake_is_one_line(capsys) -> None:
    assert tracking.main(["sample", "--seeds", "0"]) == 2
    assert capsys.readouterr().err == "benchmarks.tracking: --seeds must be at least 1, found 0\n"
