"""The latency of one short text in one library, from its tokens and from text."""

from pathlib import Path

import numpy as np

from benchmarks.children.classifier import open_classifier, padded
from benchmarks.children.engines import device_of
from benchmarks.children.result import read_settings, write_result
from benchmarks.children.timing import time_calls
from benchmarks.memory import peak_resident_bytes
from bertjax.data.tokens import load_tokenizer, tokenize

_WARM_UP = 20  # calls


def main() -> None:
    settings = read_settings()
    folder, text = Path(settings["folder"]), settings["text"]
    classifier = open_classifier(
        settings["engine"], folder, settings["precision"], settings["threads"]
    )
    ids, mask = padded(tokenize(load_tokenizer(folder), [text], 512).ids)
    result = {"tokens": ids.shape[1]}
    for name, call in (
        ("tokens", lambda: classifier.forward(ids, mask)),
        ("text", lambda: classifier.probabilities([text], 1)),
    ):
        seconds = time_calls(call, settings["calls"], _WARM_UP)[1]
        p50, p99 = np.percentile(seconds, (50, 99)).tolist()
        result |= {f"{name}_p50_s": p50, f"{name}_p99_s": p99}
    result |= {"peak_bytes": peak_resident_bytes(), "device": device_of(settings["engine"])}
    write_result(result)


if __name__ == "__main__":
    main()
