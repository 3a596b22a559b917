"""Gradients of the text-classification loss against torch's, with dropout off.

Here the texts are packed in rows, in torch each is a padded row of its own.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification
from transformers.activations import ACT2FN

from bertjax.checkpoints.convert import write_tensors
from bertjax.checkpoints.folder import DEFAULT_CHECKPOINT, load, save
from bertjax.checkpoints.names import encoder_rows, head_rows
from bertjax.training.losses import classification_loss
from bertjax.training.steps import make_gradients

LENGTHS = (7, 5, 1, 9, 4)  # packed as 7 + 5, 1 + 9 and 4
PLACES = ((0, 0), (0, 1), (1, 0), (1, 1), (2, 0))  # row and number of each text
TARGETS = {
    "single_label_classification": np.array([0, 2, 1, 1, 2], np.int32),
    "multi_label_classification": np.array(
        [[0, 1, 0], [1, 1, 0], [0, 0, 0], [1, 1, 1], [0, 0, 1]], np.float32
    ),
    "regression": np.array([0.5, -1.0, 2.0, 0.0, 3.5], np.float32),
}
ZERO = ".attention.self.key.bias"  # adds one number to all scores of a query: no effect


def texts(vocabulary: int) -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [rng.integers(1, vocabulary, length).astype(np.int32) for length in LENGTHS]


def packed(texts: list[np.ndarray], targets: np.ndarray) -> dict[str, jax.Array]:
    """Three rows of 14 tokens that hold at most two texts each."""
    batch = {
        "input_ids": np.zeros((3, 14), np.int32),
        "segment_ids": np.zeros((3, 14), np.int32),
        "labels": np.zeros((3, 2, *targets.shape[1:]), targets.dtype),
        "weights": np.zeros((3, 2), np.float32),
    }
    for text, target, (row, number) in zip(texts, targets, PLACES, strict=True):
        start = (batch["segment_ids"][row] > 0).sum()
        batch["input_ids"][row, start : start + len(text)] = text
        batch["segment_ids"][row, start : start + len(text)] = number + 1
        batch["labels"][row, number] = target
        batch["weights"][row, number] = 1.0
    return {name: jnp.asarray(x) for name, x in batch.items()}


def torch_gradients(model: torch.nn.Module, texts, targets) -> tuple[float, dict[str, np.ndarray]]:
    ids, mask = torch.zeros(5, 9).long(), torch.zeros(5, 9).long()
    for i, text in enumerate(texts):
        ids[i, : len(text)], mask[i, : len(text)] = torch.as_tensor(text), 1
    labels = torch.as_tensor(targets)
    labels = labels.long() if labels.dtype == torch.int32 else labels.to(model.dtype)
    model.zero_grad()
    loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
    loss.backward()
    found = {name: weight.grad.numpy().copy() for name, weight in model.named_parameters()}
    return loss.item(), found


def our_gradients(checkpoint, texts, targets) -> tuple[float, dict[str, np.ndarray]]:
    config = checkpoint.config
    loss = classification_loss(checkpoint.model.apply, config.resolved_problem_type)
    # Not compiled: a tiny model takes longer to compile than to run.
    value, slopes = make_gradients(loss)(checkpoint.params, None, packed(texts, targets))
    rows = [*encoder_rows(config), *head_rows(config, checkpoint.task)]
    return float(value), write_tensors(slopes, rows, bare=False)


def assert_gradients_agree(found, expected) -> None:
    for name in set(found) - set(expected):  # xielu's constants
        assert name.endswith(("act_fn.beta", "act_fn.eps"))
        assert not found[name].any()
    largest = max(np.abs(x).max() for x in expected.values())
    for name, value in expected.items():
        if name.endswith(ZERO):
            assert np.abs(found[name]).max() <= 1e-6 * max(largest, 1.0), name
        else:
            error = np.linalg.norm(found[name] - value) / np.linalg.norm(value)
            assert error <= 1e-4, f"{name}: {error:.1e}"


@pytest.mark.parametrize("activation", sorted(ACT2FN))
def test_with_every_activation(tmp_path, reference, activation):
    model = reference("text-classification", activation, num_labels=3, num_hidden_layers=1)
    model.save_pretrained(tmp_path)
    targets = TARGETS["single_label_classification"]
    value, found = our_gradients(load(tmp_path), texts(61), targets)
    their_value, expected = torch_gradients(model, texts(61), targets)
    assert abs(value - their_value) <= 1e-5
    assert_gradients_agree(found, expected)


@pytest.mark.parametrize("problem", ["multi_label_classification", "regression"])
def test_with_the_other_problems(tmp_path, reference, problem):
    labels = 1 if problem == "regression" else 3
    model = reference("text-classification", num_labels=labels, problem_type=problem)
    model.save_pretrained(tmp_path)
    value, found = our_gradients(load(tmp_path), texts(61), TARGETS[problem])
    their_value, expected = torch_gradients(model, texts(61), TARGETS[problem])
    assert abs(value - their_value) <= 1e-5
    assert_gradients_agree(found, expected)


def test_of_the_packaged_model(tmp_path):
    checkpoint = load(DEFAULT_CHECKPOINT, task="text-classification", labels=["a", "b", "c"])
    save(checkpoint, tmp_path / "model")
    model = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "model", attn_implementation="eager"
    ).eval()
    targets = TARGETS["single_label_classification"]
    value, found = our_gradients(checkpoint, texts(30000), targets)
    their_value, expected = torch_gradients(model, texts(30000), targets)
    assert abs(value - their_value) <= 1e-5
    assert_gradients_agree(found, expected)
