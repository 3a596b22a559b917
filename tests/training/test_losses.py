from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from bertjax.training.losses import classification_loss, example_losses

SINGLE, MULTI, REGRESSION = (
    "single_label_classification",
    "multi_label_classification",
    "regression",
)
# softmax of these is 1/6, 2/6, 3/6
LOGITS = np.log(np.array([[1, 2, 3], [1, 2, 3]], np.float32))


def test_cross_entropy_by_hand():
    losses = example_losses(LOGITS, np.array([0, 2], np.int32), SINGLE)
    assert_allclose(losses, [np.log(6), np.log(2)], rtol=1e-6)


def test_label_smoothing_by_hand():
    # 0.3 of the target is spread over the three classes: 0.8, 0.1, 0.1.
    losses = example_losses(LOGITS[:1], np.array([0], np.int32), SINGLE, label_smoothing=0.3)
    assert_allclose(losses, [0.8 * np.log(6) + 0.1 * np.log(3) + 0.1 * np.log(2)], rtol=1e-6)


def test_soft_labels_by_hand():
    soft = np.array([[0.5, 0.25, 0.25], [0, 1, 0]], np.float32)
    expected = [0.5 * np.log(6) + 0.25 * np.log(3) + 0.25 * np.log(2), np.log(3)]
    assert_allclose(example_losses(LOGITS, soft, SINGLE), expected, rtol=1e-6)
    # 0.4 of the first target is spread over the three classes.
    target = 0.6 * soft[0] + 0.4 / 3
    smooth = example_losses(LOGITS[:1], soft[:1], SINGLE, label_smoothing=0.4)
    assert_allclose(smooth, [-(target * np.log([1 / 6, 2 / 6, 3 / 6])).sum()], rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_multi_label_by_hand(dtype):
    logits = np.log(np.array([[1, 3]], np.float32))  # sigmoids 1/2 and 3/4
    losses = example_losses(logits, np.array([[1, 0]], dtype), MULTI)
    assert_allclose(losses, [(np.log(2) + np.log(4)) / 2], rtol=1e-6)


def test_multi_label_of_extreme_logits_is_finite():
    logits = np.array([[200, -200], [200, -200]], np.float32)
    losses = example_losses(logits, np.array([[1, 0], [0, 1]], np.int32), MULTI)
    assert_allclose(losses, [0, 200], atol=1e-6)


def test_regression_by_hand():
    logits = np.array([[1, 5], [2, 2]], np.float32)
    labels = np.array([[3, 4], [2, 2]], np.float32)
    assert_allclose(example_losses(logits, labels, REGRESSION), [(4 + 1) / 2, 0])


def test_regression_on_one_target_takes_labels_without_its_axis():
    logits = np.array([[[1], [2]], [[3], [4]]], np.float32)  # [R, S, 1]
    losses = example_losses(logits, np.array([[1, 0], [0, 4]], np.int32), REGRESSION)
    assert_allclose(losses, [[0, 4], [9, 0]])


def test_an_unknown_problem_is_named():
    with pytest.raises(ValueError, match="'ranking' has no loss"):
        example_losses(LOGITS, LOGITS, "ranking")


def apply(params, key, input_ids, segment_ids, max_segments):
    """Logits [R, S, C] that are the parameters."""
    return SimpleNamespace(logits=params)


def batch_of(labels, weights):
    rows = np.zeros((len(labels), 4), np.int32)
    weights = np.asarray(weights, np.float32)
    return {"input_ids": rows, "segment_ids": rows, "labels": labels, "weights": weights}


def test_the_loss_is_a_sum_over_the_sequences_that_are_there():
    logits = jnp.stack([LOGITS, 100 * LOGITS])  # [2, 2, C]; of the second row, nothing is there
    labels = np.array([[0, 2], [1, 1]], np.int32)
    sums = classification_loss(apply)(logits, None, batch_of(labels, [[1, 1], [0, 0]]))
    assert_allclose(sums.loss, np.log(6) + np.log(2), rtol=1e-6)
    assert sums.count == 2


def test_sequences_of_weight_0_have_no_gradient():
    labels = np.array([[0, 2]], np.int32)
    batch = batch_of(labels, [[1, 0]])
    gradient = jax.grad(lambda x: classification_loss(apply)(x, None, batch).loss)(LOGITS[None])
    assert_allclose(gradient[0, 0], [1 / 6 - 1, 2 / 6, 3 / 6], atol=1e-6)
    assert not gradient[0, 1].any()


def test_weights_scale_an_example_and_its_count():
    labels = np.array([[0, 2]], np.int32)
    sums = classification_loss(apply)(LOGITS[None], None, batch_of(labels, [[0.5, 3]]))
    assert_allclose(sums.loss, 0.5 * np.log(6) + 3 * np.log(2), rtol=1e-6)
    assert sums.count == 3.5


def test_class_weights_weigh_sum_and_count():
    # torch's CrossEntropyLoss(weight) divides by the weights of the classes found.
    loss = classification_loss(apply, class_weights=[2.0, 5.0, 0.25])
    labels = np.array([[0, 2], [1, 1]], np.int32)
    logits = jnp.stack([LOGITS, LOGITS])
    sums = loss(logits, None, batch_of(labels, [[1, 1], [1, 0]]))
    assert_allclose(sums.loss, 2 * np.log(6) + 0.25 * np.log(2) + 5 * np.log(3), rtol=1e-6)
    assert sums.count == 7.25


def test_a_soft_label_is_a_mixture_of_its_classes_each_with_its_weight():
    # As torch's cross_entropy with probabilities, but divided by the weights.
    loss = classification_loss(apply, class_weights=[2.0, 5.0, 0.25])
    labels = np.array([[[0.5, 0.5, 0], [0, 0, 0]]], np.float32)
    sums = loss(LOGITS[None], None, batch_of(labels, [[1, 0]]))
    assert_allclose(sums.loss, 0.5 * 2 * np.log(6) + 0.5 * 5 * np.log(3), rtol=1e-6)
    assert_allclose(sums.count, 3.5)


@pytest.mark.parametrize("class_weights", [None, [2.0, 5.0, 0.3]])
def test_a_soft_label_of_one_class_is_that_class_bit_by_bit(class_weights):
    loss = classification_loss(apply, class_weights=class_weights, label_smoothing=0.1)
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4, 5, 3)).astype(np.float32)
    labels = rng.integers(0, 3, (4, 5)).astype(np.int32)
    weights = (rng.random((4, 5)) > 0.3).astype(np.float32)
    soft = np.eye(3, dtype=np.float32)[labels] * weights[..., None]  # zeros where there is no text
    gradient = jax.value_and_grad(lambda x, batch: loss(x, None, batch).loss)
    hard, mixed = (gradient(logits, batch_of(one, weights)) for one in (labels, soft))
    np.testing.assert_array_equal(hard[0], mixed[0])
    np.testing.assert_array_equal(hard[1], mixed[1])
    counts = [loss(logits, None, batch_of(one, weights)).count for one in (labels, soft)]
    np.testing.assert_array_equal(*counts)


@pytest.mark.parametrize("problem_type", [MULTI, REGRESSION])
def test_class_weights_need_one_class_an_example(problem_type):
    with pytest.raises(ValueError, match="class_weights"):
        classification_loss(apply, problem_type, class_weights=[1.0, 2.0, 3.0])


@pytest.mark.parametrize("problem_type", [MULTI, REGRESSION])
def test_label_smoothing_needs_one_class_an_example(problem_type):
    message = f"label_smoothing needs one class an example, which {problem_type} has not"
    with pytest.raises(ValueError, match=message):
        classification_loss(apply, problem_type, label_smoothing=0.1)
    with pytest.raises(ValueError, match=message):
        example_losses(LOGITS, LOGITS, problem_type, 0.1)
    classification_loss(apply, problem_type, label_smoothing=0.0)


def test_with_class_weights_a_smoothed_target_has_that_of_its_label():
    # In torch's CrossEntropyLoss what is spread has the weights 2, 5 and 0.25 of its classes.
    loss = classification_loss(apply, class_weights=[2.0, 5.0, 0.25], label_smoothing=0.3)
    sums = loss(LOGITS[None], None, batch_of(np.array([[0, 2]], np.int32), [[1, 0]]))
    smoothed = 0.8 * np.log(6) + 0.1 * np.log(3) + 0.1 * np.log(2)
    assert_allclose(sums.loss, 2 * smoothed, rtol=1e-6)
    assert sums.count == 2


def test_multi_label_over_packed_rows():
    labels = np.array([[[1, 0], [1, 1]]], np.float32)  # [R, S, C]
    logits = jnp.log(jnp.array([[[1.0, 3.0], [1.0, 1.0]]]))
    sums = classification_loss(apply, MULTI)(logits, None, batch_of(labels, [[1, 0]]))
    assert_allclose(sums.loss, (np.log(2) + np.log(4)) / 2, rtol=1e-6)
    assert sums.count == 1
