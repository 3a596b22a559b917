"""The probabilities that `Predictor` gives, which a server's answers are held against."""

from pathlib import Path

from benchmarks.children.result import read_settings, write_result
from bertjax.serving.predictor import Predictor


def main() -> None:
    settings = read_settings()
    predictor = Predictor.load(Path(settings["folder"]), settings["precision"])
    write_result({"probabilities": predictor.probabilities(settings["texts"]).tolist()})


if __name__ == "__main__":
    main()
