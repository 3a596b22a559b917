"""The picture of a search: a panel a setting, on its own scale, the best marked in each."""

import pytest

from bertjax.cluster.search_plot import draw_search, plot_search
from bertjax.cluster.search_space import Choice, Range
from bertjax.cluster.tune_report import Row

SPACE = {
    "learning_rate": Range(1e-5, 1e-3, log=True),
    "warmup": Range(0.0, 0.2),
    "batch_size": Choice((16, 64)),
}
SCORES = [("finished", 0.6), ("stopped", 0.3), ("finished", 0.8), ("failed", None)]
ROWS = [
    Row(
        number=number,
        name=str(number),
        status=status,
        settings={
            "learning_rate": 1e-4 * number,
            "warmup": 0.01 * number,
            "batch_size": 16 if number % 2 else 64,
        },
        epochs=2,
        best=score,
        best_epoch=None,
        seconds=1.0,
        error="",
    )
    for number, (status, score) in enumerate(SCORES, 1)
]


def stars(axes) -> list[tuple[float, float]]:
    found = [points for points in axes.collections if points.get_label() == "best"]
    return [tuple(points.get_offsets()[0].tolist()) for points in found]


def test_each_setting_has_a_panel_on_its_scale_with_the_best_marked():
    order, rate, warmup, batch = draw_search(ROWS, SPACE, "macro_f1").axes
    assert order.get_ylabel() == "macro_f1, validation rows"
    assert [axes.get_xscale() for axes in (order, rate, warmup, batch)] == [
        *("linear", "log", "linear", "linear")
    ]
    assert rate.get_xlabel() == "learning_rate (log scale)"
    assert [label.get_text() for label in batch.get_xticklabels()] == ["16", "64"]
    assert stars(order) == [(3, 0.8)]
    assert stars(rate) == [(pytest.approx(3e-4), 0.8)]
    assert stars(warmup) == [(pytest.approx(0.03), 0.8)]
    assert stars(batch) == [(pytest.approx(0, abs=0.2), 0.8)]


def test_trials_of_one_value_stand_beside_each_other():
    batch = draw_search(ROWS, SPACE, "macro_f1").axes[3]
    (finished,) = [points for points in batch.collections if points.get_label() == "finished"]
    first, third = finished.get_offsets().tolist()
    assert first[0] != third[0]
    assert round(first[0]) == round(third[0]) == 0


def test_the_best_so_far_rises_with_the_trials_that_finished():
    (order, *_) = draw_search(ROWS, SPACE, "macro_f1").axes
    (line,) = order.lines
    assert line.get_xydata().tolist() == [[1, 0.6], [2, 0.6], [3, 0.8]]


def test_it_is_written_as_a_png(tmp_path):
    path = tmp_path / "search.png"
    plot_search(path, ROWS, SPACE, "macro_f1")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_search_that_finished_nothing_is_drawn_too():
    figure = draw_search(ROWS[1:2], {"warmup": SPACE["warmup"]}, "loss")
    assert [stars(axes) for axes in figure.axes] == [[], []]
