"""The probabilities of many texts, from text, in one library."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.children.classifier import open_classifier
from benchmarks.children.engines import device_of, peak_flops, read_config
from benchmarks.children.result import read_settings, write_result
from benchmarks.children.timing import time_calls
from benchmarks.memory import peak_resident_bytes
from benchmarks.shapes import Size
from benchmarks.speed import OURS
from bertjax.data.tokens import load_tokenizer, tokenize


def main() -> None:
    settings = read_settings()
    engine, precision, folder = settings["engine"], settings["precision"], Path(settings["folder"])
    texts = json.loads(Path(settings["texts"]).read_text(encoding="utf-8"))
    size, streams = settings.get("batching", (None, 1))  # bertjax needs none
    classifier = open_classifier(engine, folder, precision, settings["threads"], streams)
    found = np.empty(0)

    def classify() -> None:
        nonlocal found
        found = classifier.probabilities(texts, size or 0)

    first, seconds = time_calls(classify, settings["repeats"], warm_up=0)
    agreement = np.mean(found.argmax(axis=-1) == np.load(settings["reference"]))
    result = {"first_s": first, "call_s": seconds, "peak_bytes": peak_resident_bytes()}
    result |= {
        "batch_size": size,
        "streams": streams,
        "tried": settings.get("tried"),  # texts a batch, streams, seconds of a tenth of the texts
        "agreement": float(agreement),
        **arithmetic(folder, texts, engine),
    }
    result["device"] = device_of(engine)
    write_result(result | {"matmul_flops": peak_flops(engine, precision)})


def arithmetic(folder: Path, texts: Sequence[str], engine: str) -> dict[str, float]:
    """Tokens of all texts, and the multiplications and additions that they take without padding."""
    config = read_config(folder)
    ids = tokenize(load_tokenizer(folder), texts, config["max_position_embeddings"]).ids
    lengths = [len(own) for own in ids]
    flops = Size.of(config).forward_flops(lengths, first_only=engine == OURS)
    return {"tokens": sum(lengths), "flops": flops}


if __name__ == "__main__":
    main()
