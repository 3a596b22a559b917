"""From DATA to shards of token ids, split and ready to be trained on, through Ray Data.

Two passes, each a stream of which no process holds more than a few blocks. The first reads, cleans
and tokenizes in as many tasks as there are cores, writes shards, and surveys them. The second knows
the classes, how many rows each has, and which tokens are in use: it splits each shard by class and
writes it anew for each part. No row comes to the driver, and no task imports jax.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
from ray.data import DataContext, Dataset, from_items

from bertjax.checkpoints.resolve import resolve
from bertjax.cluster import ingested
from bertjax.cluster.ingested import PARTS, Ingested, Part, Reading
from bertjax.cluster.sources import stream_table
from bertjax.data.cleaning import clean_texts
from bertjax.data.labels import classes_of, encode_labels
from bertjax.data.packing import Needs, candidate_row_lengths, cheapest_plan, most_needed
from bertjax.data.shards import (
    WINDOW,
    Rows,
    Shard,
    count_rows,
    read_rows,
    window_needs,
    windows_in_order,
    windows_of_epoch,
    write_shard,
)
from bertjax.data.sources import fingerprint, labelled_rows, text_of
from bertjax.data.splits import check_counts, check_shares, split_parts, split_piece
from bertjax.data.storage import make_folder, remove_folder
from bertjax.data.tokens import load_tokenizer, tokenize
from bertjax.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerFast

BLOCK = 8 * 2**20  # bytes of text that a task tokenizes at once
_EXACT = 8  # windows in all epochs up to which every row length is tried on each


@dataclass
class Survey:
    """What is known of rows that were tokenized."""

    shards: list[Shard]
    labels: list[tuple[str, ...]]  # for each shard, what its labels stand for
    counts: list[Counter[str]]  # of the labels of each shard
    lengths: np.ndarray  # rows of each length [max_length + 1]
    used: np.ndarray  # bool [vocabulary]
    dropped: int  # rows without a label
    truncated: int
    digests: list[str]

    @property
    def total(self) -> Counter[str]:
        return sum(self.counts, Counter())

    def add(self, other: "Survey") -> None:
        for name in ("shards", "labels", "counts", "digests"):
            getattr(self, name).extend(getattr(other, name))
        self.lengths += other.lengths
        self.used |= other.used
        self.dropped += other.dropped
        self.truncated += other.truncated


def ingest(reading: Reading) -> Ingested:
    """Read, tokenize and split a table, and keep what was found beside the shards.

    Raises:
      UserError: as `read_table`, `classes_of` and `split_parts`; Ray wraps what a task raises.
    """
    check_shares(reading.test_size, reading.validation_size)
    asked = ingested.describe(reading)
    prepare_context()
    remove_folder(reading.folder)  # what is noted there must not outlive its shards
    make_folder(_first_pass(reading))
    survey = _tokenized(reading)
    counts = survey.total
    if not counts:
        raise UserError(
            f"{reading.data}: every row of the label column {reading.label!r} is empty; name "
            "another"
        )
    classes = classes_of(counts)
    for size in filter(None, (reading.test_size, reading.validation_size)):
        check_counts(counts, size)
    parts = _split(reading, survey, classes)
    remove_folder(_first_pass(reading))
    digests = survey.digests
    found = Ingested(
        class_rows={name: counts[name] for name in classes},
        vocabulary=np.flatnonzero(survey.used),
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
        histogram=survey.lengths,
        dropped=survey.dropped,
        truncated=survey.truncated,
        fingerprint=digests[0] if len(digests) == 1 else _digest_of(digests),
    )
    ingested.write(reading.folder, asked, found)
    return found


def _first_pass(reading: Reading) -> str:
    """The folder of the shards that are not yet split."""
    return f"{reading.folder}/all"


def plan_needs(part: Part, batch_size: int, seed: int, epochs: int, hidden_size: int) -> Needs:
    """What the steps of all epochs need at the most, by row length; surveyed in tasks.

    Whether the workers' attention is local only they know: row lengths for both are asked about. Of
    a long table two alone for each, those that its first window likes best.
    """
    prepare_context()
    shards = part.shards
    windows = [
        (epoch, pieces)
        for epoch in range(epochs)
        for pieces in windows_of_epoch(shards, seed, epoch)
    ]
    candidates = {local: candidate_row_lengths(part.longest, local) for local in (False, True)}
    if len(windows) > _EXACT:
        every = sorted({*candidates[False], *candidates[True]})
        first = window_needs(shards, windows[0][1], batch_size, seed, 0, every)
        for local, lengths in candidates.items():
            of_kind = {length: first[length] for length in lengths}
            candidates[local] = _cheapest(of_kind, batch_size, hidden_size, local)
    row_lengths = sorted({*candidates[False], *candidates[True]})

    def needs(item: dict[str, Any]) -> dict[str, Any]:
        epoch, pieces = item["item"]
        return {"needs": window_needs(shards, pieces, batch_size, seed, epoch, row_lengths)}

    found = from_items([{"item": item} for item in windows]).map(needs)
    return most_needed([row["needs"] for row in found.iter_rows()])


def _cheapest(needs: Needs, batch_size: int, hidden_size: int, local: bool) -> tuple[int, ...]:
    """The two row lengths that cost least."""
    left, found = dict(needs), []
    facts = {"texts": 1, "tokens": 1, "steps": 1, "batch_size": batch_size}
    while left and len(found) < 2:
        plan = cheapest_plan(left, **facts, hidden_size=hidden_size, local_attention=local)
        found.append(plan.row_length)
        del left[plan.row_length]
    return tuple(found)


def _tokenized(reading: Reading) -> Survey:
    stream = stream_table(reading.data, (*reading.text, reading.label))
    survey = _empty_survey(reading)
    for found in _surveys(stream, reading):
        survey.add(found)
    return survey


def _surveys(stream: Dataset, reading: Reading) -> Iterable[Survey]:
    def survey(frame: "pd.DataFrame") -> dict[str, list[Survey]]:
        return {"survey": [_tokenize_block(frame, reading)]}

    surveys = stream.map_batches(
        survey,  # pyright: ignore[reportArgumentType]  # batch_format says what it takes
        batch_size=None,
        batch_format="pandas",
        num_cpus=1,
    )
    return (row["survey"] for row in surveys.iter_rows())


def _tokenize_block(frame: "pd.DataFrame", reading: Reading) -> Survey:
    """Write the rows of a frame that have a label as a shard."""
    result = _empty_survey(reading)
    if frame.empty:
        return result
    texts, labels = labelled_rows(frame, text_of(frame, reading.text, reading.data), reading.label)
    result.dropped = len(frame) - len(labels)
    if not labels:
        return result
    digest = fingerprint(texts, labels)
    tokens = tokenize(
        _tokenizer(reading.checkpoint),
        clean_texts(texts) if reading.clean else texts,
        reading.max_length,
    )
    names = tuple(sorted(set(labels)))
    rows = Rows(tokens.ids, encode_labels(labels, names))
    lengths = [len(ids) for ids in tokens.ids]
    result.shards = [write_shard(f"{_first_pass(reading)}/{uuid4().hex}.parquet", rows)]
    result.labels, result.counts, result.digests = [names], [Counter(labels)], [digest]
    result.lengths = np.bincount(lengths, minlength=reading.max_length + 1)
    result.used[np.concatenate(tokens.ids)] = True
    result.truncated = int(tokens.truncated.sum())
    return result


def _empty_survey(reading: Reading) -> Survey:
    lengths = np.zeros(reading.max_length + 1, np.int64)
    used = np.zeros(reading.vocabulary, bool)
    used[reading.pad_token_id] = True
    return Survey([], [], [], lengths, used, 0, 0, [])


@cache
def _tokenizer(checkpoint: str) -> "PreTrainedTokenizerFast":
    return load_tokenizer(resolve(checkpoint))


@dataclass(frozen=True)
class _Split:
    """Shards that a task splits."""

    number: int
    shards: list[Shard]
    labels: list[tuple[str, ...]]
    before: np.ndarray  # rows of each class in the shards before these [C]
    whole: bool  # whether these are all


def _split(reading: Reading, survey: Survey, classes: tuple[str, ...]) -> dict[str, Part]:
    used = np.flatnonzero(survey.used)

    def write_parts(item: dict[str, Any]) -> dict[str, Any]:
        return {"parts": _write_parts(item["split"], reading, classes, used)}

    splits = from_items([{"split": split} for split in _splits(survey, classes)])
    parts = {name: Part() for name in PARTS}
    for row in splits.map(write_parts).iter_rows():
        for name, written in row["parts"].items():
            part = parts[name]
            part.shards += written.shards
            part.tokens += written.tokens
            part.longest = max(part.longest, written.longest)
            part.counts = part.counts + written.counts
    return parts


def _splits(survey: Survey, classes: tuple[str, ...]) -> list[_Split]:
    """A task a shard; a single one for a table of one window, which is split as in memory."""
    nothing = np.zeros(len(classes), np.int64)
    if count_rows(survey.shards) <= WINDOW:
        return [_Split(0, survey.shards, survey.labels, nothing, True)]
    splits, before = [], nothing
    for i, (shard, names) in enumerate(zip(survey.shards, survey.labels, strict=True)):
        splits.append(_Split(i, [shard], [names], before, False))
        before = before + [survey.counts[i][name] for name in classes]
    return splits


def _write_parts(
    split: _Split, reading: Reading, classes: tuple[str, ...], used: np.ndarray
) -> dict[str, Part]:
    ids, labels = [], []
    for shard, names in zip(split.shards, split.labels, strict=True):
        rows = read_rows([shard], windows_in_order([shard]))
        ids += rows.ids
        labels.append(np.searchsorted(classes, names)[rows.labels].astype(np.int32))
    all_labels = np.concatenate(labels)
    sizes = reading.test_size, reading.validation_size
    if split.whole:
        parts = split_parts(all_labels.tolist(), *sizes, reading.seed)
    else:
        seed = (reading.seed, split.number)
        parts = split_piece(all_labels, split.before, *sizes, seed)
    return {
        name: _write_part(name, split.number, indices, ids, all_labels, reading, used, len(classes))
        for name, indices in zip(PARTS, parts, strict=True)
    }


def _write_part(
    name: str,
    number: int,
    indices: np.ndarray,
    ids: list[np.ndarray],
    labels: np.ndarray,
    reading: Reading,
    used: np.ndarray,
    classes: int,
) -> Part:
    if not len(indices):
        return Part(counts=np.zeros(classes, np.int64))
    kept = [np.searchsorted(used, ids[i]).astype(np.int32) for i in indices]
    path = f"{reading.folder}/{name}-{number:06d}.parquet"
    return Part(
        shards=[write_shard(path, Rows(kept, labels[indices]))],
        tokens=sum(map(len, kept)),
        longest=max(map(len, kept)),
        counts=np.bincount(labels[indices], minlength=classes),
    )


def _digest_of(digests: list[str]) -> str:
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest()


def prepare_context(block: int = BLOCK) -> None:
    """Results in the order of the rows, blocks of so many bytes, and no bars beside ours.

    A mistake of the user's that a task finds comes here as what it is.
    """
    context = DataContext.get_current()
    context.raise_original_map_exception = True
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.target_max_block_size = block
