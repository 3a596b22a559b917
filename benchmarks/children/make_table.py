"""Write a table of synthetic texts, of words that are one token each, as uneven as in language."""

from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.children.result import read_settings, write_result
from bertjax.checkpoints.resolve import DEFAULT_CHECKPOINT, resolve
from bertjax.data.tokens import load_tokenizer

CLASSES = ("first", "second", "third", "fourth")
FILE = 50_000  # rows
SPECIAL = 2  # tokens


def main() -> None:
    settings = read_settings()
    rng = np.random.default_rng(0)
    vocabulary = load_tokenizer(resolve(DEFAULT_CHECKPOINT)).get_vocab()
    words = np.array(sorted(word for word in vocabulary if word.isalpha() and len(word) > 2))
    folder, left, number = Path(settings["folder"]), settings["rows"], 0
    folder.mkdir()
    while left:
        count = min(left, FILE)
        # Log-normal lengths with this mean, the longest as long as the model reads.
        lengths = rng.lognormal(np.log(settings["tokens"] - SPECIAL) - 0.32, 0.8, count)
        lengths = np.clip(lengths.astype(int), 1, 510)
        drawn = np.minimum(rng.zipf(1.2, lengths.sum()), len(words)) - 1
        texts = [" ".join(part) for part in np.split(words[drawn], lengths.cumsum()[:-1])]
        tags = rng.choice(CLASSES, count)
        frame = pd.DataFrame({"text": texts, "label": tags})
        frame.to_parquet(folder / f"{number:05d}.parquet", row_group_size=5000)
        left, number = left - count, number + 1
    write_result({"bytes": sum(file.stat().st_size for file in folder.iterdir())})


if __name__ == "__main__":
    main()
