"""Pictures of a run: how its loss fell, and which classes it confuses."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BLUE, _RED = "#2f6db3", "#d1422f"
_MOST_CLASSES = 40  # of a matrix whose names can be read
_NUMBERED = 12  # classes up to which each cell shows its number


def draw_figures(
    folder: Path,
    steps: Sequence[tuple[int, dict[str, float]]],
    history: Sequence[dict[str, float]],
    scores: dict[str, Any],
) -> list[Path]:
    """Write PNGs of what there is to show; none where matplotlib is not installed.

    Args:
        steps: (number of the step, its figures).
        history: the record of each epoch.
        scores: of the held-out rows, as `classification_scores` gives them; may be empty.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
    except ModuleNotFoundError:
        return []
    figures = {}
    if steps or history:
        figures["training.png"] = draw_training(steps, history)
    if scores and len(scores["labels"]) <= _MOST_CLASSES:
        figures["confusion_matrix.png"] = draw_confusions(scores)
    for name, figure in figures.items():
        FigureCanvasAgg(figure)
        figure.savefig(folder / name, dpi=120)
    return [folder / name for name in figures]


def draw_training(
    steps: Sequence[tuple[int, dict[str, float]]], history: Sequence[dict[str, float]]
) -> "Figure":
    """The loss of each step, and what was measured on the validation rows after each epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([n for n, _ in steps], [v["loss"] for _, v in steps], color=_BLUE, linewidth=1)
    left.set(xlabel="step", ylabel="loss of the step", ylim=(0, None))
    for name, colour in (("weighted_f1", _BLUE), ("accuracy", _RED)):
        shown = [(record["epoch"], record[name]) for record in history if name in record]
        if shown:
            epochs, values = zip(*shown, strict=True)
            right.plot(epochs, values, color=colour, marker="o", label=name.replace("_", " "))
    if right.lines:
        right.legend()
    right.set(xlabel="epoch", ylabel="on the validation rows", ylim=(0, 1))
    return figure


def draw_confusions(scores: dict[str, Any]) -> "Figure":
    """The confusion matrix of the held-out rows."""
    from matplotlib.figure import Figure

    labels, matrix = scores["labels"], scores["confusion_matrix"]
    side = 2.4 + 0.42 * len(labels)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(matrix, cmap="Blues")
    axes.set_xticks(range(len(labels)), labels, rotation=90)
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="predicted", ylabel="true")
    most = max(max(row) for row in matrix)
    for true, row in enumerate(matrix if len(labels) <= _NUMBERED else []):
        for predicted, count in enumerate(row):
            colour = "white" if count > most / 2 else "black"
            axes.text(predicted, true, str(count), ha="center", va="center", color=colour)
    return figure
