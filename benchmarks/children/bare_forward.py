"""The latency of a bare jitted forward pass of each text alone: token ids, padded to a rung."""

from bisect import bisect_left
from functools import partial
from itertools import cycle
from pathlib import Path

from bertjax.process import tune_malloc

if __name__ == "__main__":  # before other imports, as the server's command does
    tune_malloc()

import jax
import numpy as np

import bertjax
from benchmarks.children.result import jax_device, read_settings, write_result
from benchmarks.children.timing import time_calls
from bertjax.data.ladder import LENGTHS, ladder_lengths
from bertjax.data.tokens import tokenize


def main() -> None:
    settings = read_settings()
    checkpoint = bertjax.load(
        Path(settings["folder"]), "text-classification", precision=settings["precision"]
    )
    most = checkpoint.run.max_length or checkpoint.config.max_position_embeddings
    rungs = ladder_lengths(most, checkpoint.run.ladder or LENGTHS)
    inputs = []
    for ids in tokenize(checkpoint.tokenizer, settings["texts"], most).ids:
        shape = (1, rungs[bisect_left(rungs, len(ids))])
        row, mask = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
        row[0, : len(ids)], mask[0, : len(ids)] = ids, 1
        inputs.append((row, mask))

    params = bertjax.round_weights(checkpoint.params, checkpoint.precision)

    @partial(jax.jit, compiler_options=bertjax.compiler_options())
    def forward(params, input_ids, attention_mask):
        output = checkpoint.model.apply(params, None, input_ids, attention_mask=attention_mask)
        return jax.nn.softmax(output.logits)

    turns = cycle(inputs)
    # The first time round compiles, and does not count.
    seconds = time_calls(
        lambda: np.asarray(forward(params, *next(turns))), len(inputs), len(inputs) - 1
    )[1]
    p50, p99 = np.percentile(seconds, (50, 99)).tolist()
    write_result({"p50_s": p50, "p99_s": p99, "device": jax_device()})


if __name__ == "__main__":
    main()
