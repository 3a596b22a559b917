"""Checkpoints of a very small BERT whose every parameter is random, so that a wrong one shows."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from bertjax.checkpoints.convert import Report
from bertjax.checkpoints.folder import Checkpoint, save
from bertjax.checkpoints.safetensors_files import write_safetensors
from bertjax.models.configs import BertConfig
from bertjax.models.heads import make_model
from bertjax.models.pooling import SentencePooling

Tensors = dict[str, np.ndarray]

CONFIG = BertConfig(
    vocab_size=29,
    hidden_size=8,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=16,
    max_position_embeddings=12,
    type_vocab_size=3,
)


@pytest.fixture(scope="session")
def make_checkpoint(random_params) -> Callable[..., Checkpoint]:
    """(task, fields of the config) -> a checkpoint that was read from nowhere."""

    def make(
        task: str,
        *,
        has_pooler: bool = True,
        pooling: SentencePooling | None = None,
        folder: Path = Path("nowhere"),
        **fields: Any,
    ) -> Checkpoint:
        config = replace(CONFIG, **fields)
        model = make_model(config, task, "float32", has_pooler, pooling)
        dummy = jnp.ones((1, 1, 2) if task == "multiple-choice" else (1, 2), jnp.int32)
        params = random_params(model, dummy)
        report = Report((), (), (), ())
        return Checkpoint(config, params, model, task, report, folder, has_pooler, pooling)

    return make


@pytest.fixture
def write(make_checkpoint, tmp_path: Path) -> Callable[..., Path]:
    """(task, fields of the config) -> a new folder with such a checkpoint."""

    def write(task: str, name: str = "source", **options: Any) -> Path:
        save(make_checkpoint(task, **options), tmp_path / name)
        return tmp_path / name

    return write


@pytest.fixture(scope="session")
def change_tensors() -> Callable[..., None]:
    """(folder, function of the dict of tensors) writes what the function returns."""

    def change(folder: Path, function: Callable[[Tensors], Tensors]) -> None:
        path = folder / "model.safetensors"
        tensors = load_file(path)
        write_safetensors(path, function(tensors))

    return change


@pytest.fixture(scope="session")
def change_config() -> Callable[..., None]:
    """(folder, fields) sets fields of config.json; None removes one."""

    def change(folder: Path, **fields: Any) -> None:
        path = folder / "config.json"
        values = json.loads(path.read_text(encoding="utf-8")) | fields
        kept = {name: value for name, value in values.items() if value is not None}
        path.write_text(json.dumps(kept), encoding="utf-8")

    return change


@pytest.fixture(scope="session")
def assert_same_params() -> Callable[[Any, Any], None]:
    """Two trees of parameters are equal bit for bit, names and dtypes included."""

    def check(found: Any, expected: Any) -> None:
        assert jax.tree.structure(found) == jax.tree.structure(expected)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            assert a.dtype == b.dtype
            assert np.asarray(a).tobytes() == np.asarray(b).tobytes()

    return check
