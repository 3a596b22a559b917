"""What a program computes of many texts, in packed rows.

R rows of T tokens hold up to S texts each; W values a text.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import jax
import numpy as np

from bertjax.data.batches import packed_in_order, unpack
from bertjax.data.bulk import Group

Program = Callable[[np.ndarray, np.ndarray, int], jax.Array]
"""input_ids and segment_ids, int32 [R, T], and S -> [R, S, W]."""

# Calls at a time on a processor. In a single one, cores wait for each other after each operation:
# on 2 cores 10,000 texts took a sixth less time by two, and no less by three (benchmarks/AMX.md).
AT_ONCE = 2

_Batch = tuple[np.ndarray, tuple[np.ndarray, np.ndarray, int]]  # texts [R, S]; for a program
_Computed = tuple[np.ndarray, np.ndarray]  # texts [R, S]; values [R, S, W]


def compute_packed(
    program: Program,
    token_ids: Sequence[np.ndarray],
    groups: Iterable[Group],
    width: int,
    pad_token_id: int,
) -> np.ndarray:
    """[N, W] float32 of N texts, each of which is in one of the groups.

    On a processor calls are made in other threads, which JAX's context managers do not reach.

    Args:
        program: called with the shapes of the groups' plans alone.
        token_ids: N arrays [T_n].
        width: W.
        pad_token_id: fills slots without a token.
    """
    result = np.zeros((len(token_ids), width), np.float32)
    batches = (_batches(token_ids, group, pad_token_id) for group in groups)
    computed = _in_threads if jax.default_backend() == "cpu" else _dispatched
    for texts, values in computed(program, batches):
        unpack(values, texts, result)
    return result


def _batches(token_ids: Sequence[np.ndarray], group: Group, pad_token_id: int) -> Iterator[_Batch]:
    ids = [token_ids[text] for text in group.texts]
    for batch in packed_in_order(ids, None, group.plan, pad_token_id):
        texts = np.where(batch["rows_of"] >= 0, group.texts[batch["rows_of"]], -1)
        yield texts, (batch["input_ids"], batch["segment_ids"], group.plan.max_segments)


def _in_threads(program: Program, groups: Iterable[Iterator[_Batch]]) -> Iterator[_Computed]:
    """All in threads of the pool: JAX's settings by context are each thread's own."""

    def compute(batch: _Batch) -> _Computed:
        texts, inputs = batch
        return texts, np.asarray(program(*inputs))

    with ThreadPoolExecutor(AT_ONCE, "packed") as pool:  # whose map, when one fails, drops the rest
        for batches in groups:
            # The first alone, or two threads would both compile what is new.
            yield from pool.map(compute, islice(batches, 1))
            yield from pool.map(compute, batches)


def _dispatched(program: Program, groups: Iterable[Iterator[_Batch]]) -> Iterator[_Computed]:
    """An accelerator is told of all batches before the first is waited for."""
    results = [(texts, program(*inputs)) for batches in groups for texts, inputs in batches]
    yield from ((texts, np.asarray(values)) for texts, values in results)
