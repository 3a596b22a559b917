"""The classes that torch predicts in float32, with which `classify_texts` compares all sides."""

import json
from pathlib import Path

import numpy as np

from benchmarks.children.classifier import open_classifier
from benchmarks.children.result import read_settings, write_result


def main() -> None:
    settings = read_settings()
    texts = json.loads(Path(settings["texts"]).read_text(encoding="utf-8"))
    folder = Path(settings["folder"])
    classifier = open_classifier("torch", folder, "float32", settings["threads"])
    classes = classifier.probabilities(texts, 32).argmax(axis=-1)
    np.save(settings["reference"], classes)
    write_result({"class_counts": np.bincount(classes).tolist()})


if __name__ == "__main__":
    main()
