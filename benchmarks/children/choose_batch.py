"""The texts a batch, and the batches at a time, with which one library takes least time."""

import json
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from benchmarks.children.classifier import Classifier, open_classifier
from benchmarks.children.result import read_settings, write_result

Batching = tuple[int, int]  # texts a batch, streams

_SAMPLE = 10  # every tenth text is enough


def main() -> None:
    settings = read_settings()
    engine, precision, folder = settings["engine"], settings["precision"], Path(settings["folder"])
    threads = settings["threads"]
    texts = json.loads(Path(settings["texts"]).read_text(encoding="utf-8"))
    classifiers = {
        streams: open_classifier(engine, folder, precision, threads, streams)
        for streams in sorted({1, threads})
    }
    seconds = seconds_by_batching(classifiers, texts[::_SAMPLE], settings["batch_sizes"])
    best = min(seconds, key=lambda batching: seconds[batching])
    tried = [[size, streams, took] for (size, streams), took in seconds.items()]
    write_result({"batching": best, "tried": tried})


def seconds_by_batching(
    classifiers: dict[int, Classifier], sample: Sequence[str], sizes: Sequence[int]
) -> dict[Batching, float]:
    """Of the sample, the least of two turns, by texts a batch and streams.

    Each was tried before: a library may prepare for shapes that it has not seen.

    Args:
        classifiers: of the library, by its streams.
    """

    def seconds(size: int, streams: int) -> float:
        began = time.perf_counter()
        classifiers[streams].probabilities(sample, size)
        return time.perf_counter() - began

    tried = list(product(sizes, classifiers))
    for batching in tried:
        seconds(*batching)
    turns = [{batching: seconds(*batching) for batching in order} for order in (tried, tried[::-1])]
    return {batching: min(turn[batching] for turn in turns) for batching in tried}


if __name__ == "__main__":
    main()
