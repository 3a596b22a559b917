"""How far products of bfloat16 operands move the gradients of a pretrained BERT."""

import jax
import numpy as np
import pytest

import bertjax
from bertjax.data.batches import packed_batches
from bertjax.data.labels import classes_of, encode_labels
from bertjax.data.packing import plan_packing
from bertjax.data.sources import read_table
from bertjax.data.tokens import tokenize
from bertjax.training.losses import classification_loss
from bertjax.training.steps import make_gradients

TEXTS, SEED = 32, 0


@pytest.fixture(scope="module")
def gradients(packaged_folder) -> dict[str, dict[str, np.ndarray]]:
    """By precision and parameter, of a batch of the sample with dropout, in float64."""
    table = read_table("sample", ("title", "description"), "tag")
    labels = table.labels or []
    classes = classes_of(labels)
    found = {}
    for precision in ("float32", "bfloat16"):
        checkpoint = bertjax.load(
            str(packaged_folder), "text-classification", classes, precision=precision
        )
        ids = tokenize(checkpoint.tokenizer, table.texts[:TEXTS], 128).ids
        plan = plan_packing([len(text) for text in ids], TEXTS, SEED, 1, 384)
        batch = next(
            packed_batches(ids, encode_labels(labels[:TEXTS], classes), plan, SEED, epoch=0)
        )
        batch.pop("rows_of")
        loss = classification_loss(checkpoint.model.apply)
        _, grads = jax.jit(make_gradients(loss))(checkpoint.params, jax.random.key(SEED), batch)
        found[precision] = {
            f"{module} {name}": np.asarray(leaf, np.float64)
            for module, leaves in grads.items()
            for name, leaf in leaves.items()
        }
    return found


def norm(arrays) -> float:
    return float(np.sqrt(sum(np.square(array).sum() for array in arrays)))


def test_all_gradients_together_are_within_a_hundredth(gradients):
    exact, short = gradients["float32"], gradients["bfloat16"]
    error = norm(short[name] - exact[name] for name in exact) / norm(exact.values())
    assert 0 < error < 0.01


def test_no_tensor_s_gradient_is_off_by_more_than_three_hundredths(gradients):
    """Save those of key biases, which are truly zero: softmax does not see what all keys share."""
    exact, short = gradients["float32"], gradients["bfloat16"]
    for name, gradient in exact.items():
        error = norm([short[name] - gradient])
        if name.endswith("attention/key b"):
            assert error < 1e-5 * norm(exact.values())
        else:
            assert error < 0.03 * norm([gradient]), name
