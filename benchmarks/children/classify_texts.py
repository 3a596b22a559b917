"""The probabilities of many texts, from text, in one library."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.children.classifier import Classifier, open_classifier
from benchmarks.children.engines import device_of, peak_flops, read_config
from benchmarks.children.result import read_settings, write_result
from benchmarks.children.timing import time_calls
from benchmarks.memory import peak_resident_bytes
from benchmarks.shapes import Size
from benchmarks.speed import OURS
from bertjax.data.tokens import load_tokenizer, tokenize

_SAMPLE = 10  # every tenth text chooses the size of batches


def main() -> None:
    settings = read_settings()
    engine, precision, folder = settings["engine"], settings["precision"], Path(settings["folder"])
    texts = json.loads(Path(settings["texts"]).read_text(encoding="utf-8"))
    classifier = open_classifier(engine, folder, precision, settings["threads"])
    size = None
    if engine != OURS:
        size = fastest_size(classifier, texts[::_SAMPLE], settings["batch_sizes"])
    found = np.empty(0)

    def classify() -> None:
        nonlocal found
        found = classifier.probabilities(texts, size or 0)

    first, seconds = time_calls(classify, settings["repeats"], warm_up=0)
    agreement = np.mean(found.argmax(axis=-1) == np.load(settings["reference"]))
    result = {"first_s": first, "call_s": seconds, "peak_bytes": peak_resident_bytes()}
    result |= {
        "batch_size": size,
        "agreement": float(agreement),
        **arithmetic(folder, texts, engine),
    }
    result["device"] = device_of(engine)
    write_result(result | {"matmul_flops": peak_flops(engine, precision)})


def fastest_size(classifier: Classifier, sample: Sequence[str], sizes: Sequence[int]) -> int:
    """The texts a batch with which the sample takes least time."""

    def seconds(size: int) -> float:
        began = time.perf_counter()
        classifier.probabilities(sample, size)
        return time.perf_counter() - began

    seconds(sizes[0])  # warm-up
    return min(sizes, key=seconds)


def arithmetic(folder: Path, texts: Sequence[str], engine: str) -> dict[str, float]:
    """Tokens of all texts, and the multiplications and additions that they take without padding."""
    config = read_config(folder)
    ids = tokenize(load_tokenizer(folder), texts, config["max_position_embeddings"]).ids
    lengths = [len(own) for own in ids]
    flops = Size.of(config).forward_flops(lengths, first_only=engine == OURS)
    return {"tokens": sum(lengths), "flops": flops}


if __name__ == "__main__":
    main()
