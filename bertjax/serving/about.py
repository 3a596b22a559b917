"""What a server tells of the model that it serves."""

import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax

from bertjax.checkpoints.run_file import NAME
from bertjax.checkpoints.tracked_run import read_run_id
from bertjax.serving.predictor import Predictor

_WEIGHTS = ("*.safetensors", "*.bin", "*.msgpack", "*.index.json")
_TOKENIZER = (
    *("tokenizer.json", "vocab.txt", "tokenizer_config.json"),
    *("special_tokens_map.json", "added_tokens.json"),
)
_FILES = (*_WEIGHTS, "config.json", NAME, *_TOKENIZER)
_PACKAGES = ("bertjax", "jax", "jaxlib", "dm-haiku", "transformers", "tokenizers")


def model_id(folder: Path) -> str:
    """12 hex digits that change with any file by which the folder's predictions could change."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in _FILES for path in folder.glob(pattern)}):
        with path.open("rb") as file:
            digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]


def describe(predictor: Predictor, precision: str) -> dict[str, Any]:
    """The fields of `ModelAnswer`."""
    checkpoint, run = predictor.checkpoint, predictor.run
    return {
        "model": model_id(checkpoint.folder),
        "name": checkpoint.folder.absolute().name,
        "run_id": read_run_id(checkpoint.folder),
        "checkpoint": run.settings.get("checkpoint"),
        "labels": list(predictor.labels),
        "problem": checkpoint.config.resolved_problem_type,
        "threshold": predictor.threshold,
        "fallback": predictor.fallback,
        "text_columns": list(run.text),
        "max_length": predictor.max_length,
        "long_texts": predictor.long_texts,
        "precision": precision,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(checkpoint.params)),
        "versions": {
            **{f"trained with {name}": number for name, number in run.versions.items()},
            **{f"served with {name}": number for name, number in _versions().items()},
        },
        "scores": run.scores,
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from a folder that is not installed
            found[name] = "unknown"
    return found
