"""Write a checkpoint as a text classifier; one without a trained head gets four random classes."""

from dataclasses import replace
from pathlib import Path

import bertjax
from benchmarks.children.result import read_settings, write_result
from bertjax.checkpoints.run_file import RunFile

LABELS = ("A", "B", "C", "D")


def main() -> None:
    settings = read_settings()
    name = settings["checkpoint"]
    checkpoint = bertjax.load(name, "text-classification")
    trained = not checkpoint.report.missing
    if not trained:
        checkpoint = bertjax.load(name, "text-classification", labels=LABELS)
    # Without bertjax.json: its cleaning and temperature are ours alone.
    bertjax.save(replace(checkpoint, run=RunFile()), Path(settings["folder"]))
    write_result({"trained_head": trained})


if __name__ == "__main__":
    main()
