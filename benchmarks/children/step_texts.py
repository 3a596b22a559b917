"""The texts of a training step that is measured, in the rows that a side wants."""

from typing import Any

import numpy as np

from bertjax.data.batches import Batch, place
from bertjax.data.packing import candidate_row_lengths, pack_rows


def make_texts(settings: dict[str, Any]) -> list[np.ndarray]:
    """Random token ids of each text, the same on all sides.

    A text is as long as a row, or with `lengths` `half` of any length below, half a row on average.
    """
    count, longest = settings["texts"], settings["length"]
    rng = np.random.default_rng(0)
    lengths = np.full(count, longest)
    if settings.get("lengths") == "half":
        lengths = rng.integers(1, longest, count)
    return [rng.integers(0, settings["sizes"]["vocab_size"], n, np.int32) for n in lengths]


def make_batch(settings: dict[str, Any], labels: int, local_attention: bool = False) -> Batch:
    """A batch of bertjax's training; `packed`: as few slots as hold the texts, else a text a row.

    `local_attention`: whether longer rows cost no more, as `plan_packing` has it.
    """
    texts, length = make_texts(settings), settings["length"]
    rows = [[number] for number in range(len(texts))]
    if settings.get("packed"):
        lengths = [len(text) for text in texts]
        candidates = candidate_row_lengths(length, True) if local_attention else [length]
        length = min(candidates, key=lambda each: each * len(pack_rows(lengths, each)))
        rows = pack_rows(lengths, length)
    segments = max(map(len, rows))
    input_ids, segment_ids, rows_of = place(rows, texts, (len(rows), length), segments)
    rng = np.random.default_rng(1)
    return {
        "input_ids": input_ids,
        "segment_ids": segment_ids,
        "labels": rng.integers(0, labels, rows_of.shape, np.int32),
        "weights": (rows_of >= 0).astype(np.float32),
    }
