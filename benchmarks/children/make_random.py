"""Write a BERT text classifier with random weights, as transformers saves it, and a tokenizer."""

import shutil
from pathlib import Path

import torch  # pyright: ignore[reportMissingImports]  # only where peers are measured
from transformers import BertConfig, BertForSequenceClassification

from benchmarks.children.result import read_settings, write_result
from bertjax.checkpoints.resolve import DEFAULT_CHECKPOINT, resolve


def main() -> None:
    settings = read_settings()
    folder = Path(settings["folder"])
    torch.manual_seed(0)
    config = BertConfig(**settings["sizes"])  # the other fields are those of BERT-base
    BertForSequenceClassification(config).save_pretrained(folder)
    packaged = resolve(DEFAULT_CHECKPOINT)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        shutil.copy(packaged / name, folder / name)
    write_result({"file_bytes": (folder / "model.safetensors").stat().st_size})


if __name__ == "__main__":
    main()
