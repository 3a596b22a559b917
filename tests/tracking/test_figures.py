"""Pictures of a run: what they show, and when there are none."""

from bertjax.tracking.figures import draw_confusions, draw_figures, draw_training

SCORES = {"labels": ["a", "b"], "confusion_matrix": [[5, 1], [0, 6]]}


def test_the_loss_of_each_step_and_the_scores_of_each_epoch_are_shown():
    steps = [(1, {"loss": 2.0}), (2, {"loss": 1.0})]
    figure = draw_training(steps, [{"epoch": 1, "accuracy": 0.5, "weighted_f1": 0.25}])
    left, right = figure.axes
    assert left.lines[0].get_xydata().tolist() == [[1, 2.0], [2, 1.0]]
    assert {line.get_label() for line in right.lines} == {"accuracy", "weighted f1"}


def test_each_cell_of_a_small_matrix_shows_its_number():
    (axes,) = draw_confusions(SCORES).axes
    assert [text.get_text() for text in axes.texts] == ["5", "1", "0", "6"]


def test_there_is_no_picture_of_nothing(tmp_path):
    assert draw_figures(tmp_path, [], [], {}) == []
    many = {"labels": [str(i) for i in range(100)], "confusion_matrix": [[0] * 100] * 100}
    assert draw_figures(tmp_path, [], [], many) == []
    names = [path.name for path in draw_figures(tmp_path, [(1, {"loss": 1.0})], [], SCORES)]
    assert names == ["training.png", "confusion_matrix.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
