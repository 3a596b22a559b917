"""What `bertjax explore` finds out about a table: plain values, ready for JSON."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from bertjax.checkpoints.folder import Checkpoint
from bertjax.data import exploration as explored
from bertjax.data.duplicates import SIMILARITY, exact_groups, near_groups
from bertjax.data.labels import classes_of
from bertjax.data.scripts import script_counts
from bertjax.data.sources import check_columns, fingerprint, read_frame, text_of
from bertjax.data.splits import split_rows
from bertjax.data.tokens import tokenize
from bertjax.errors import UserError
from bertjax.workflows.explore_configs import MAP_TEXTS, ExploreConfig

if TYPE_CHECKING:
    import pandas as pd

Say = Callable[[str], None]
Facts = dict[str, Any]

_LABEL = "label"  # the column that is the class where none is named
_NO_LIMIT = 10**9  # tokens
_MAP_TOKENS = 128  # of a text that its embedding is made of: bounds the time
_UMAP_TEXTS = 16  # fewer have too few neighbours


@dataclass(frozen=True)
class Rows:
    """A table, as it is explored."""

    texts: list[str]  # [N]
    labels: list[str] | None  # [N], "" where missing; None without a label column
    label: str | None  # the name of that column
    columns: dict[str, list[str]]  # all, as text


def read_rows(config: ExploreConfig) -> Rows:
    """Read DATA.

    Raises:
        UserError: it cannot be read, has no such column, or no text.
    """
    frame = read_frame(config.data)
    label = config.label
    if label is None and _LABEL in frame.columns:
        label = _LABEL
    check_columns(frame, config.text if label is None else [*config.text, label], config.data)
    texts = _texts(frame, config.text, config.data)
    if not any(text.strip() for text in texts):
        raise UserError(
            f"{config.data}: every text is empty in {', '.join(config.text)}; name other columns "
            "with --text"
        )
    columns = {str(name): _texts(frame, [name], config.data) for name in frame.columns}
    return Rows(texts, None if label is None else columns[label], label, columns)


def measure(config: ExploreConfig, rows: Rows, checkpoint: Checkpoint | None, say: Say) -> Facts:
    """All facts of a table; `say` is told of the steps.

    Rows are counted from 0. Each of missing, classes, lengths, words, scripts, duplicates,
    conflicts, leakage and map is what the functions of `bertjax.data` give; without labels classes
    and conflicts are None, and what could not be computed is {"skipped": why}.
    """
    texts, labels = rows.texts, rows.labels
    classes = None if labels is None else explored.class_counts(labels)
    say(f"{len(texts)} rows, {'no labels' if classes is None else f'{len(classes)} classes'}")
    exact, near = exact_groups(texts), near_groups(texts)
    say(f"{len(exact)} texts stand there more than once, {len(near)} have near duplicates")
    facts = {
        "data": {
            "source": config.data,
            "rows": len(texts),
            "text": list(config.text),
            "label": rows.label,
            "fingerprint": fingerprint(texts, labels),
        },
        "missing": {
            "texts": sum(not text.strip() for text in texts),
            "labels": None if labels is None else sum(not label for label in labels),
            "columns": explored.blank_cells(rows.columns),
        },
        "classes": classes,
        "lengths": {
            "words": _lengths(explored.word_counts(texts)),
            "tokens": _tokens(texts, checkpoint),
        },
        "words": _words(texts, labels, classes),
        "scripts": script_counts(texts),
        "duplicates": {"exact": exact, "near": near, "similarity": SIMILARITY},
        "conflicts": None if labels is None else explored.label_conflicts(exact, labels),
        "leakage": _leakage(config, rows, exact, near),
        "map": _map(config, rows, checkpoint, say),
    }
    return facts


def _texts(frame: "pd.DataFrame", columns: Sequence[str], name: str) -> list[str]:
    """Lone surrogates, which no file in UTF-8 can hold, become question marks."""
    texts = text_of(frame, columns, name)
    return [text.encode("utf-8", "replace").decode("utf-8") for text in texts]


def _lengths(lengths: np.ndarray, limit: int | None = None) -> Facts:
    described = explored.describe_lengths(lengths, limit)
    return {**described, "histogram": explored.histogram(lengths)}


def _tokens(texts: list[str], checkpoint: Checkpoint | None) -> Facts | None:
    if checkpoint is None:
        return None
    ids = tokenize(checkpoint.tokenizer, texts, _NO_LIMIT).ids
    lengths = np.array([len(tokens) for tokens in ids], np.int64)
    return _lengths(lengths, checkpoint.config.max_position_embeddings)


def _words(
    texts: list[str], labels: list[str] | None, classes: dict[str, int] | None
) -> dict[str, list[tuple[str, int]]]:
    """The frequent words of each class; without labels those of all texts, under ""."""
    if labels is None or not classes:
        return {"": explored.frequent_words(texts)}
    of_class: dict[str, list[str]] = {name: [] for name in classes}
    for text, label in zip(texts, labels, strict=True):
        if label:
            of_class[label].append(text)
    return {name: explored.frequent_words(part) for name, part in of_class.items()}


def _leakage(
    config: ExploreConfig, rows: Rows, exact: list[list[int]], near: list[list[int]]
) -> Facts:
    """Rows of the other table, or that finetune would hold out, that say what a row of DATA says.

    `near` leaves out the rows of `exact`.
    """
    count = len(rows.texts)
    if config.against is not None:
        frame = read_frame(config.against)
        others = _texts(frame, config.text, config.against)
        together = [*rows.texts, *others]
        exact, near = exact_groups(together), near_groups(together)
        train, test = range(count), range(count, len(together))
        name = config.against
    else:
        if rows.labels is None:
            return {"skipped": "without labels there is no split; --against names another table"}
        labelled = [row for row, label in enumerate(rows.labels) if label]
        try:
            classes_of(named := [rows.labels[i] for i in labelled])
            parts = split_rows(named, config.test_size, config.seed)
        except UserError as error:
            return {"skipped": f"finetune could not split this table: {error}"}
        train, test = ([labelled[i] for i in part.tolist()] for part in parts)
        name = f"held out by finetune --seed {config.seed} --test-size {config.test_size:g}"
    start = test[0] if config.against is not None else 0
    same = explored.leaks(exact, train, test)
    found = {leak.row for leak in same}
    alike = [leak for leak in explored.leaks(near, train, test) if leak.row not in found]
    return {
        "test": name,
        "train_rows": len(train),
        "test_rows": len(test),
        "exact": [{"row": leak.row - start, "like": leak.like} for leak in same],
        "near": [{"row": leak.row - start, "like": leak.like} for leak in alike],
    }


def _map(config: ExploreConfig, rows: Rows, checkpoint: Checkpoint | None, say: Say) -> Facts:
    """Places of texts in the plane, of which near ones have similar embeddings."""
    if checkpoint is None or config.map == "none":
        return {"skipped": "no map was asked for"}
    drawn = [row for row, text in enumerate(rows.texts) if text.strip()]
    if len(drawn) < MAP_TEXTS:
        return {"skipped": f"a map needs {MAP_TEXTS} texts"}
    if len(drawn) > config.limit:
        rng = np.random.default_rng(config.seed)
        drawn = np.sort(rng.choice(drawn, config.limit, replace=False)).tolist()
    from bertjax.workflows.embedding import embed

    say(f"computing embeddings of {len(drawn)} texts")
    most = min(_MAP_TOKENS, checkpoint.config.max_position_embeddings)
    pieces = tokenize(checkpoint.tokenizer, [rows.texts[row] for row in drawn], most)
    method, places, variance = _project(embed(checkpoint, pieces.ids), config)
    return {
        "method": method,
        "explained_variance": variance,
        "tokens_read": most,
        "rows": drawn,
        "x": [round(float(x), 4) for x in places[:, 0]],
        "y": [round(float(y), 4) for y in places[:, 1]],
    }


def _project(
    embeddings: np.ndarray, config: ExploreConfig
) -> tuple[str, np.ndarray, list[float] | None]:
    """(method, [N, 2], shares of the variance), of [N, D]."""
    umap = config.map == "umap" or (config.map == "auto" and find_spec("umap") is not None)
    if umap and len(embeddings) >= _UMAP_TEXTS:
        from umap import UMAP  # pyright: ignore[reportMissingImports]

        # n_jobs: more than one cannot be had with a seed, which UMAP warns of.
        model = UMAP(metric="cosine", random_state=config.seed, n_jobs=1)
        return "UMAP", np.asarray(model.fit_transform(embeddings)), None
    from sklearn.decomposition import PCA

    # Of a few hundred dimensions: the eigenvectors are there in a hundredth of the time of an SVD.
    model = PCA(n_components=2, svd_solver="covariance_eigh")
    with np.errstate(invalid="ignore"):  # 0 / 0 where all texts are equal
        places = model.fit_transform(embeddings.astype(np.float64))
    shares = np.nan_to_num(model.explained_variance_ratio_)
    return "PCA", places, shares.round(4).tolist()
