"""What transformers computes, written down by `make_golden.py`, against what bertjax computes.

For every head, every activation, tied and untied decoders: logits, each hidden state, attentions
and pooler output, with padding behind and in front and with token types.
"""

import json
from functools import cache
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from bertjax.checkpoints import folder
from bertjax.models.activations import ACTIVATIONS
from bertjax.models.configs import TASKS

GOLDEN = Path(__file__).parent / "golden" / "bert.safetensors"
TOLERANCE = 2e-5  # absolute, float32
CASES = [(task, True) for task in TASKS] + [("fill-mask", False), ("pretraining", False)]


@cache
def golden() -> tuple[dict[str, np.ndarray], dict[str, str]]:
    with safe_open(GOLDEN, "np") as file:
        return load_file(GOLDEN), file.metadata()


def weights(task: str, activation: str, tied: bool) -> dict[str, np.ndarray]:
    """The checkpoint of one model, of what the file shares between many."""
    tensors, _ = golden()
    heads = {
        "fill-mask": ["cls.predictions"],
        "next-sentence-prediction": ["bert.pooler", "cls.seq_relationship"],
        "pretraining": ["bert.pooler", "cls."],
        "text-classification": ["bert.pooler", "classifier"],
        "token-classification": ["classifier"],
        "question-answering": ["qa_outputs"],
        "feature-extraction": ["bert.pooler"],
        "multiple-choice": ["bert.pooler"],
    }[task]
    wanted = ("bert.embeddings", "bert.encoder", *heads)
    found = {}
    for prefix in ("weights/", f"{activation}/weights/"):
        for name, value in tensors.items():
            if name.startswith(prefix) and name.removeprefix(prefix).startswith(wanted):
                found[name.removeprefix(prefix)] = value
    if task == "multiple-choice":
        own = "weights/multiple-choice/"
        found |= {n.removeprefix(own): x for n, x in tensors.items() if n.startswith(own)}
    if tied:
        found = {n: x for n, x in found.items() if "predictions.decoder" not in n}
    if task == "feature-extraction":  # a checkpoint of the bare encoder
        found = {name.removeprefix("bert."): x for name, x in found.items()}
    return found


def expected(task: str, activation: str, tied: bool) -> dict[str, np.ndarray]:
    tensors, _ = golden()
    head = f"{activation}/{task}{'' if tied else ':untied'}/"
    shared = [f"{activation}/hidden_states.", f"{activation}/attentions."]
    if task == "feature-extraction":
        shared.append(f"{activation}/pooler_output")
    return {
        name.removeprefix(head).removeprefix(f"{activation}/"): value
        for name, value in tensors.items()
        if name.startswith((head, *shared))
    }


def computed(checkpoint: folder.Checkpoint) -> dict[str, np.ndarray]:
    tensors, _ = golden()
    names = ("input_ids", "attention_mask", "token_type_ids")
    batch = {name: jnp.asarray(tensors[f"inputs/{name}"]) for name in names}
    if checkpoint.task == "multiple-choice":
        batch = {name: x[None] for name, x in batch.items()}
    output = checkpoint.model.apply(
        checkpoint.params, None, **batch, output_hidden_states=True, output_attentions=True
    )
    found = {}
    for name, value in output._asdict().items():
        if isinstance(value, tuple):
            found |= {f"{name}.{i}": np.asarray(x) for i, x in enumerate(value)}
        elif value is not None and name != "last_hidden_state":
            found[name] = np.asarray(value)
    return found


def test_the_file_holds_every_activation():
    assert json.loads(golden()[1]["activations"]) == sorted(ACTIVATIONS)


@pytest.mark.parametrize(("task", "tied"), CASES)
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_numbers_are_those_of_transformers(tmp_path, activation, task, tied):
    config = json.loads(golden()[1]["config"])
    if task == "question-answering":  # has two scores a token, which are not classes
        del config["id2label"]
    config |= {"hidden_act": activation, "tie_word_embeddings": tied}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(weights(task, activation, tied), tmp_path / "model.safetensors")
    checkpoint = folder.load(tmp_path, task=task)
    assert checkpoint.report.missing == ()

    found, values = computed(checkpoint), expected(task, activation, tied)
    assert set(found) == set(values)
    for name, value in values.items():
        assert found[name].shape == value.shape, name
        error = np.abs(found[name] - value).max()
        assert error <= TOLERANCE, f"{name} is {error:.1e} off"
