"""Every head with every activation against transformers, live, in float32."""

import pytest
from transformers.activations import ACT2FN

from bertjax.checkpoints.folder import load
from bertjax.models.activations import ACTIVATIONS
from bertjax.models.configs import TASKS


def test_every_activation_of_transformers_is_there():
    assert set(ACTIVATIONS) == set(ACT2FN)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("activation", sorted(ACT2FN))
def test_every_output_is_that_of_transformers(
    tmp_path, reference, batch, theirs, ours, assert_close, task, activation
):
    model = reference(task, activation)
    model.save_pretrained(tmp_path)
    checkpoint = load(tmp_path)  # the task from `architectures`
    assert checkpoint.task == task
    assert checkpoint.report.missing == checkpoint.report.unexpected == ()
    inputs = batch(task)
    assert_close(ours(checkpoint, inputs), theirs(model, inputs))


@pytest.mark.parametrize("task", ["fill-mask", "pretraining"])
@pytest.mark.parametrize("activation", ["gelu", "prelu"])
def test_a_decoder_of_its_own_is_used(
    tmp_path, reference, batch, theirs, ours, assert_close, task, activation
):
    model = reference(task, activation, tie_word_embeddings=False)
    model.save_pretrained(tmp_path)
    inputs = batch(task)
    assert_close(ours(load(tmp_path), inputs), theirs(model, inputs))


@pytest.mark.parametrize("task", TASKS)
def test_other_sizes_and_constants(tmp_path, reference, batch, theirs, ours, assert_close, task):
    labels = {} if task == "question-answering" else {"num_labels": 5}
    model = reference(
        task,
        layer_norm_eps=1e-3,
        num_attention_heads=1,
        num_hidden_layers=3,
        type_vocab_size=4,
        pad_token_id=None,
        **labels,
    )
    model.save_pretrained(tmp_path)
    inputs = batch(task)
    assert_close(ours(load(tmp_path), inputs), theirs(model, inputs))


def test_an_encoder_without_a_pooler(tmp_path, reference, batch, theirs, ours, assert_close):
    model = reference("feature-extraction")
    model.pooler = None
    model.save_pretrained(tmp_path)
    inputs = batch("feature-extraction")
    expected = theirs(model, inputs)
    assert "pooler_output" not in expected
    assert_close(ours(load(tmp_path), inputs), expected)
