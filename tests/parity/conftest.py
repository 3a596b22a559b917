"""Tiny random BERTs of transformers, and what both libraries compute of them.

Needs torch and transformers: `python -m pytest tests/parity -o addopts="--import-mode=importlib"`.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import transformers

from bertjax.checkpoints.folder import Checkpoint
from bertjax.checkpoints.names import ARCHITECTURES

SIZES = {
    "vocab_size": 61,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 16,
    "type_vocab_size": 2,
}


@pytest.fixture
def reference() -> Callable:
    """(task, activation, options of the config) -> transformers' model, weights and biases random.

    The weights are larger than transformers' 0.02, so that a wrong activation or a missing bias
    shows.
    """

    def build(task: str, activation: str = "gelu", **options) -> torch.nn.Module:
        torch.manual_seed(len(task) * 100 + len(activation))
        config = transformers.BertConfig(
            **(SIZES | options), hidden_act=activation, attn_implementation="eager"
        )
        # float: xielu makes its own parameters in bfloat16
        model = getattr(transformers, ARCHITECTURES[task])(config).float().eval()
        with torch.no_grad():
            for name, weight in model.named_parameters():
                noise = torch.randn(weight.shape)
                if "act_fn" in name:  # values that bfloat16 holds, for xielu's sake again
                    weight.copy_((weight + 0.1 * noise).bfloat16())
                else:
                    weight.copy_(0.3 * noise + float(name.endswith("LayerNorm.weight")))
        return model

    return build


@pytest.fixture
def batch() -> Callable:
    """(task) -> ids, mask and token types of four rows, padded behind or in front."""

    def make(task: str) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(5)
        mask = np.ones((4, 11), np.int32)
        mask[1, 6:], mask[2, 1:], mask[3, :4] = 0, 0, 0
        made = {
            "input_ids": rng.integers(1, 61, (4, 11)).astype(np.int32) * mask,
            "attention_mask": mask,
            "token_type_ids": rng.integers(0, 2, (4, 11)).astype(np.int32),
        }
        if task == "multiple-choice":
            made = {name: x.reshape(2, 2, 11) for name, x in made.items()}
        return made

    return make


def _named(output) -> dict[str, np.ndarray]:
    """Each array under the name of its field; tuples numbered."""
    found = {}
    for name, value in output.items():
        if isinstance(value, tuple):
            found |= {f"{name}.{i}": np.asarray(x) for i, x in enumerate(value)}
        elif value is not None:
            found[name] = np.asarray(value)
    return found


@pytest.fixture
def theirs() -> Callable:
    """(torch model, batch) -> every output, with hidden states and attentions."""

    def compute(model: torch.nn.Module, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        tensors = {name: torch.as_tensor(x).long() for name, x in batch.items()}
        with torch.no_grad():
            return _named(model(**tensors, output_hidden_states=True, output_attentions=True))

    return compute


@pytest.fixture
def ours() -> Callable:
    """(checkpoint, batch) -> the same of bertjax."""

    def compute(checkpoint: Checkpoint, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        output = checkpoint.model.apply(
            checkpoint.params, None, **batch, output_hidden_states=True, output_attentions=True
        )
        return _named(output._asdict())

    return compute


@pytest.fixture
def assert_close() -> Callable:
    """(found, expected, tolerance) -> every expected array is found, each within the tolerance."""

    def check(found, expected, tolerance: float = 2e-5) -> None:
        assert set(expected) == set(found)
        for name, value in expected.items():
            assert found[name].shape == value.shape, name
            error = np.abs(found[name] - value).max()
            assert error <= tolerance, f"{name} is {error:.1e} off"

    return check
