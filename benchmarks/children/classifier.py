"""Texts -> probabilities, as the users of each library do it.

N texts, C classes.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.children.engines import Forward, bertjax_forward, open_engine, read_config
from bertjax.data.tokens import load_tokenizer, tokenize


class Classifier(NamedTuple):
    """A library's two ways in: from tokens, and from texts."""

    forward: Forward
    probabilities: Callable[[Sequence[str], int], np.ndarray]
    """Texts and how many of them a batch -> [N, C]; bertjax chooses its batches itself."""


def open_classifier(
    engine: str, folder: Path, precision: str, threads: int, streams: int = 1
) -> Classifier:
    """The classifier in `folder`, in one library; `streams` as of `open_engine`."""
    if engine == "bertjax":
        import bertjax

        predictor = bertjax.Predictor.load(folder, precision)  # pyright: ignore[reportArgumentType]
        forward = bertjax_forward(predictor.checkpoint)
        return Classifier(forward, lambda texts, _: predictor.probabilities(texts))
    forward = open_engine(engine, folder, precision, threads, streams)
    each = ThreadPoolExecutor(streams).map if streams > 1 else map  # as long as the process
    tokenizer = load_tokenizer(folder)
    longest = read_config(folder)["max_position_embeddings"]

    def probabilities(texts: Sequence[str], batch_size: int) -> np.ndarray:
        ids = tokenize(tokenizer, texts, longest).ids
        return softmax(batched_logits(forward, ids, batch_size, each))

    return Classifier(forward, probabilities)


def batched_logits(
    forward: Forward, token_ids: Sequence[np.ndarray], size: int, each: Any = map
) -> np.ndarray:
    """[N, C]: `size` texts a batch, of similar length, each batch padded to its longest.

    Args:
        each: `map`, or what calls several at a time.
    """
    order = sorted(range(len(token_ids)), key=lambda text: len(token_ids[text]))

    def part_from(start: int) -> np.ndarray:
        return forward(*padded([token_ids[text] for text in order[start : start + size]]))

    sorted_logits = np.concatenate(list(each(part_from, range(0, len(order), size))))
    logits = np.empty_like(sorted_logits)
    logits[order] = sorted_logits
    return logits


def padded(token_ids: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """input_ids and attention_mask, int32 [B, T], of B texts; T of the longest."""
    shape = len(token_ids), max(map(len, token_ids))
    ids, mask = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    for row, own in enumerate(token_ids):
        ids[row, : len(own)] = own
        mask[row, : len(own)] = 1
    return ids, mask


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
