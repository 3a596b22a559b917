"""How far products of bfloat16 operands move the gradients of a pretrained BERT."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from unittest import mock

import jax
import numpy as np
import pytest

import bertjax
from bertjax.data.batches import packed_batches
from bertjax.data.labels import classes_of, encode_labels
from bertjax.data.packing import plan_packing
from bertjax.data.sources import read_table
from bertjax.data.tokens import tokenize
from bertjax.models import attention, bert, residual_norm
from bertjax.models.configs import Precision
from bertjax.training.losses import classification_loss
from bertjax.training.steps import make_gradients

TEXTS, SEED = 32, 0
SHORT = ["bfloat16", "bfloat16 as on a GPU"]


@contextmanager
def as_on_a_gpu() -> Iterator[None]:
    """Its kernels, interpreted, and what it rounds between products."""
    with ExitStack() as stack:

        def put(module, name: str, value) -> mock.Mock:
            return stack.enter_context(mock.patch.object(module, name, return_value=value))

        asked = [
            *(put(module, "rounds_results", True) for module in (attention, bert, residual_norm)),
            put(attention, "choose_kernel", "flash"),
            put(residual_norm, "has_norm_kernel", True),
        ]
        yield
        assert all(each.called for each in asked)


@pytest.fixture(scope="module")
def gradients(packaged_folder) -> dict[str, dict[str, np.ndarray]]:
    """By precision and parameter, of a batch of the sample with dropout, in float64."""
    table = read_table("sample", ("title", "description"), "tag")
    labels = table.labels or []
    classes = classes_of(labels)
    found = {}
    for name in ("float32", *SHORT):
        precision: Precision = "float32" if name == "float32" else "bfloat16"
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
        with as_on_a_gpu() if "GPU" in name else nullcontext():
            _, grads = jax.jit(make_gradients(loss))(checkpoint.params, jax.random.key(SEED), batch)
        found[name] = {
            f"{module} {name}": np.asarray(leaf, np.float64)
            for module, leaves in grads.items()
            for name, leaf in leaves.items()
        }
    return found


def norm(arrays) -> float:
    return float(np.sqrt(sum(np.square(array).sum() for array in arrays)))


@pytest.mark.parametrize("precision", SHORT)
def test_all_gradients_together_are_within_a_hundredth(precision, gradients):
    exact, short = gradients["float32"], gradients[precision]
    error = norm(short[name] - exact[name] for name in exact) / norm(exact.values())
    assert 0 < error < 0.01


@pytest.mark.parametrize("precision", SHORT)
def test_no_tensor_s_gradient_is_off_by_more_than_three_hundredths(precision, gradients):
    """Save those of key biases, which are truly zero: softmax does not see what all keys share."""
    exact, short = gradients["float32"], gradients[precision]
    for name, gradient in exact.items():
        error = norm([short[name] - gradient])
        if name.endswith("attention/key b"):
            assert error < 1e-5 * norm(exact.values())
        else:
            assert error < 0.03 * norm([gradient]), name
