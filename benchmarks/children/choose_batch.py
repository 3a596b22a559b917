"""The texts a batch with which one library takes least time."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.children.classifier import Classifier, open_classifier
from benchmarks.children.result import read_settings, write_result

_SAMPLE = 10  # every tenth text is enough


def main() -> None:
    settings = read_settings()
    engine, precision, folder = settings["engine"], settings["precision"], Path(settings["folder"])
    texts = json.loads(Path(settings["texts"]).read_text(encoding="utf-8"))
    classifier = open_classifier(engine, folder, precision, settings["threads"])
    seconds = seconds_by_size(classifier, texts[::_SAMPLE], settings["batch_sizes"])
    write_result({"batch_size": min(seconds, key=lambda size: seconds[size])})


def seconds_by_size(
    classifier: Classifier, sample: Sequence[str], sizes: Sequence[int]
) -> dict[int, float]:
    """Of the sample, the least of two turns.

    Each size was tried before: a library may prepare for shapes that it has not seen.
    """

    def seconds(size: int) -> float:
        began = time.perf_counter()
        classifier.probabilities(sample, size)
        return time.perf_counter() - began

    for size in sizes:
        seconds(size)
    turns = [{size: seconds(size) for size in order} for order in (sizes, sizes[::-1])]
    return {size: min(turn[size] for turn in turns) for size in sizes}


if __name__ == "__main__":
    main()
