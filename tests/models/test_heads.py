from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.models.configs import TASKS
from bertjax.models.heads import make_model
from bertjax.models.pooling import SentencePooling

ROW_TASKS = [task for task in TASKS if task != "multiple-choice"]
# Which outputs are one a token; the others are one a sequence.
BY_TOKEN = {
    ("feature-extraction", "last_hidden_state"),
    ("fill-mask", "logits"),
    ("pretraining", "prediction_logits"),
    ("token-classification", "logits"),
    ("question-answering", "start_logits"),
    ("question-answering", "end_logits"),
}
OUTPUTS = {
    "feature-extraction": {"last_hidden_state", "pooler_output", "sentence_embedding"},
    "fill-mask": {"logits"},
    "next-sentence-prediction": {"logits"},
    "pretraining": {"prediction_logits", "seq_relationship_logits"},
    "text-classification": {"logits"},
    "token-classification": {"logits"},
    "question-answering": {"start_logits", "end_logits"},
    "multiple-choice": {"logits"},
}
CLOSE = 1e-5  # float32 sums in another order, of values up to 4
# Three sequences, the first two packed in one row of seven, the third alone in another.
TEXTS = ([3, 14, 15, 9], [3, 26, 5], [3, 5, 8, 9, 7])
TYPES = ([0, 0, 1, 1], [0, 1, 2], [0, 0, 0, 1, 2])
PACKED = {
    "input_ids": jnp.array([[*TEXTS[0], *TEXTS[1], 0], [*TEXTS[2], 0, 0, 0]]),
    "token_type_ids": jnp.array([[*TYPES[0], *TYPES[1], 0], [*TYPES[2], 0, 0, 0]]),
    "segment_ids": jnp.array([[1, 1, 1, 1, 2, 2, 2, 0], [1, 1, 1, 1, 1, 0, 0, 0]]),
}
PLACES = [(0, 0, slice(0, 4)), (0, 1, slice(4, 7)), (1, 0, slice(0, 5))]  # row, sequence, tokens


def options(task: str) -> dict:
    pooling = SentencePooling("mean", True)
    return {"sentence_pooling": pooling} if task == "feature-extraction" else {}


def fields(output) -> dict[str, np.ndarray]:
    return {name: np.asarray(x) for name, x in output._asdict().items() if x is not None}


def batch(task: str) -> tuple[jax.Array, jax.Array]:
    """Ids and mask of three texts padded to one length; for multiple-choice the three choices."""
    ids, mask = np.zeros((3, 6), np.int32), np.zeros((3, 6), np.int32)
    for i, text in enumerate(TEXTS):
        ids[i, : len(text)], mask[i, : len(text)] = text, 1
    shape = (1, 3, 6) if task == "multiple-choice" else (3, 6)
    return jnp.asarray(ids.reshape(shape)), jnp.asarray(mask.reshape(shape))


@pytest.mark.parametrize("task", TASKS)
def test_outputs_of_each_task(build, task):
    model, params = build(task, **options(task))
    ids, mask = batch(task)
    output = fields(model.apply(params, None, ids, attention_mask=mask))
    assert set(output) == OUTPUTS[task]
    sizes = {
        "feature-extraction": {"last_hidden_state": (3, 6, 8), "pooler_output": (3, 8)},
        "fill-mask": {"logits": (3, 6, 29)},
        "next-sentence-prediction": {"logits": (3, 2)},
        "pretraining": {"prediction_logits": (3, 6, 29), "seq_relationship_logits": (3, 2)},
        "text-classification": {"logits": (3, 3)},
        "token-classification": {"logits": (3, 6, 3)},
        "question-answering": {"start_logits": (3, 6), "end_logits": (3, 6)},
        "multiple-choice": {"logits": (1, 3)},
    }[task]
    for name, shape in sizes.items():
        assert output[name].shape == shape
        assert output[name].dtype == np.float32


def dense(x, params, module):
    layer = {k: np.asarray(v, np.float64) for k, v in params[module].items()}
    return np.asarray(x, np.float64) @ layer["w"] + layer["b"]


def words(x, params, decoder):
    """The masked-LM head with hidden_act relu, in float64."""
    x = np.maximum(dense(x, params, "transform"), 0.0)
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
    norm = params["transform_norm"]
    x = x * np.asarray(norm["scale"]) + np.asarray(norm["offset"])
    return x @ np.asarray(decoder, np.float64).T + np.asarray(params["~"]["decoder_bias"])


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("tied", [True, False])
def test_each_head_is_what_it_says_of_the_last_hidden_state(build, tiny, task, tied):
    config = replace(tiny, hidden_act="relu", tie_word_embeddings=tied)
    model, params = build(task, config, **options(task))
    ids, mask = batch(task)
    result = model.apply(params, None, ids, attention_mask=mask, output_hidden_states=True)
    assert result.hidden_states is not None
    x, found = result.hidden_states[-1], fields(result)
    pooled = np.tanh(dense(x[:, 0], params, "pooler")) if "pooler" in params else None
    table = params["bert/embeddings/word_embeddings"]["embeddings"]
    decoder = table if tied else params.get("~", {}).get("decoder")
    match task:
        case "feature-extraction":
            mean = np.stack([x[i, : len(text)].mean(axis=0) for i, text in enumerate(TEXTS)])
            length = np.linalg.norm(mean, axis=1, keepdims=True)
            expected = {"pooler_output": pooled, "sentence_embedding": mean / length}
        case "fill-mask":
            expected = {"logits": words(x, params, decoder)}
        case "next-sentence-prediction":
            expected = {"logits": dense(pooled, params, "seq_relationship")}
        case "pretraining":
            expected = {
                "prediction_logits": words(x, params, decoder),
                "seq_relationship_logits": dense(pooled, params, "seq_relationship"),
            }
        case "text-classification":
            expected = {"logits": dense(pooled, params, "classifier")}
        case "token-classification":
            expected = {"logits": dense(x, params, "classifier")}
        case "question-answering":
            scores = dense(x, params, "qa_outputs")
            expected = {"start_logits": scores[..., 0], "end_logits": scores[..., 1]}
        case "multiple-choice":
            expected = {"logits": dense(pooled, params, "classifier").reshape(1, 3)}
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=CLOSE)


def test_a_decoder_of_its_own_is_a_parameter_only_if_untied(build, tiny):
    _, tied = build("fill-mask", tiny)
    _, untied = build("fill-mask", replace(tiny, tie_word_embeddings=False))
    assert set(tied["~"]) == {"decoder_bias"}
    assert {k: v.shape for k, v in untied["~"].items()} == {
        "decoder_bias": (29,),
        "decoder": (29, 8),
    }


def test_without_a_pooler_there_is_no_output_and_no_parameter_of_it(build):
    model, params = build("feature-extraction", has_pooler=False)
    output = fields(model.apply(params, None, batch("feature-extraction")[0]))
    assert set(output) == {"last_hidden_state"}
    assert "pooler" not in params


@pytest.mark.parametrize("task", TASKS)
def test_more_padding_changes_nothing(build, task):
    model, params = build(task, **options(task))
    ids, mask = batch(task)
    wider = [(0, 0)] * (ids.ndim - 1) + [(0, 5)]
    few = fields(model.apply(params, None, ids, attention_mask=mask))
    junk = jnp.pad(ids, wider, constant_values=17)  # what stands in padding does not matter
    many = fields(model.apply(params, None, junk, attention_mask=jnp.pad(mask, wider)))
    for name, value in few.items():
        found = many[name][:, : value.shape[1]] if (task, name) in BY_TOKEN else many[name]
        np.testing.assert_allclose(found, value, atol=CLOSE)


@pytest.mark.parametrize("task", TASKS)
def test_permuting_the_batch_permutes_the_result(build, task):
    model, params = build(task, **options(task))
    ids, mask = batch(task)
    axis = 1 if task == "multiple-choice" else 0  # there, of the choices
    order = jnp.array([2, 0, 1])
    straight = fields(model.apply(params, None, ids, attention_mask=mask))
    shuffled = fields(
        model.apply(
            params,
            None,
            jnp.take(ids, order, axis=axis),
            attention_mask=jnp.take(mask, order, axis=axis),
        )
    )
    for name, value in straight.items():
        np.testing.assert_allclose(shuffled[name], np.take(value, order, axis=axis), atol=CLOSE)


def alone(text: list[int], types: list[int]) -> dict[str, jax.Array]:
    """A text in a row of its own, twice and padded to PACKED's shape, so that it compiles once."""
    rest = [0] * (8 - len(text))
    rows = {
        "input_ids": [*text, *rest],
        "token_type_ids": [*types, *rest],
        "attention_mask": [1] * len(text) + rest,
    }
    return {name: jnp.array([row, row]) for name, row in rows.items()}


@pytest.mark.parametrize("task", ROW_TASKS)
def test_packed_sequences_get_what_they_get_alone(build, task):
    model, params = build(task, **options(task))
    packed = fields(model.apply(params, None, **PACKED, max_segments=2))
    for text, types, (row, number, tokens) in zip(TEXTS, TYPES, PLACES, strict=True):
        for name, value in fields(model.apply(params, None, **alone(text, types))).items():
            by_token = (task, name) in BY_TOKEN
            found = packed[name][row, tokens if by_token else number]
            expected = value[0, : len(text)] if by_token else value[0]
            np.testing.assert_allclose(found, expected, atol=CLOSE)


def test_packed_choices_get_what_they_get_alone(build):
    model, params = build("multiple-choice")
    first, second = [[3, 4, 5], [3, 7, 8]], [[3, 6], [3, 9]]  # two choices each
    ids = jnp.array([[[*a, *b, 0, 0, 0] for a, b in zip(first, second, strict=True)]])
    segment_ids = jnp.array([[[1, 1, 1, 2, 2, 0, 0, 0]] * 2])
    packed = model.apply(params, None, ids, segment_ids=segment_ids, max_segments=2).logits
    assert packed.shape == (1, 2, 2)
    for number, choices in enumerate([first, second]):
        rest = [0] * (8 - len(choices[0]))
        one = jnp.array([[[*choice, *rest] for choice in choices]])
        own = model.apply(params, None, one, attention_mask=jnp.minimum(one, 1)).logits
        np.testing.assert_allclose(packed[:, number], own, atol=CLOSE)


@pytest.mark.parametrize("task", ROW_TASKS)
def test_changing_one_packed_sequence_leaves_the_others_as_they_were_bit_by_bit(build, task):
    model, params = build(task, **options(task))
    before = fields(model.apply(params, None, **PACKED, max_segments=2))
    ids = PACKED["input_ids"].at[0, 4:7].set(jnp.array([21, 2, 28]))
    changed = {**PACKED, "input_ids": ids}
    after = fields(model.apply(params, None, **changed, max_segments=2))
    for name, value in before.items():
        for row, number, tokens in PLACES:
            place = tokens if (task, name) in BY_TOKEN else number
            same = np.array_equal(value[row, place], after[name][row, place])
            assert same == ((row, number) != (0, 1)), name


def test_no_gradient_leaks_from_one_packed_sequence_into_another(build):
    model, params = build("text-classification")
    positions = "bert/embeddings/position_embeddings"

    def first_text(params):
        return model.apply(params, None, **PACKED, max_segments=2).logits[0, 0].sum()

    slopes = jax.jit(jax.grad(first_text))(params)
    used = np.abs(slopes["bert/embeddings/word_embeddings"]["embeddings"]).max(axis=1) > 0
    assert set(np.flatnonzero(used)) == set(TEXTS[0])
    used = np.abs(slopes[positions]["embeddings"]).max(axis=1) > 0
    assert np.flatnonzero(used).tolist() == [0, 1, 2, 3]


def test_segments_beyond_those_asked_for_are_left_out_and_the_default_is_one_a_token(build):
    model, params = build("text-classification")
    one = model.apply(params, None, **PACKED, max_segments=1).logits
    every = model.apply(params, None, **PACKED).logits
    assert one.shape == (2, 1, 3)
    assert every.shape == (2, 8, 3)
    np.testing.assert_allclose(every[:, :1], one, atol=CLOSE)


def test_what_is_left_out_has_its_default(build):
    model, params = build("feature-extraction")
    ids = batch("feature-extraction")[0]
    default = model.apply(params, None, ids).last_hidden_state
    said = model.apply(
        params,
        None,
        ids,
        attention_mask=jnp.ones((3, 6), bool),
        token_type_ids=jnp.zeros((3, 6), jnp.int32),
        position_ids=jnp.tile(jnp.arange(6), (3, 1)),
    ).last_hidden_state
    np.testing.assert_array_equal(default, said)


@pytest.mark.parametrize("name", ["token_type_ids", "position_ids"])
def test_token_types_and_positions_count(build, name):
    model, params = build("feature-extraction")
    ids = batch("feature-extraction")[0]
    default = model.apply(params, None, ids).last_hidden_state
    other = model.apply(params, None, ids, **{name: jnp.full((3, 6), 2)}).last_hidden_state
    assert float(jnp.abs(default - other).max()) > 0.1


def test_position_ids_given_with_segments_are_used(build):
    model, params = build("text-classification")
    restarting = jnp.array([[0, 1, 2, 3, 0, 1, 2, 0], [0, 1, 2, 3, 4, 0, 1, 2]])
    default = model.apply(params, None, **PACKED, max_segments=2).logits
    same = model.apply(params, None, **PACKED, position_ids=restarting, max_segments=2).logits
    np.testing.assert_array_equal(default, same)
    moved = model.apply(params, None, **PACKED, position_ids=restarting + 1, max_segments=2).logits
    assert float(jnp.abs(default - moved)[0].max()) > 0.01


def test_hidden_states_and_attentions_come_on_request_only(build):
    model, params = build("token-classification")
    ids, mask = batch("token-classification")
    plain = model.apply(params, None, ids, attention_mask=mask)
    asked = model.apply(
        params, None, ids, attention_mask=mask, output_hidden_states=True, output_attentions=True
    )
    assert plain.hidden_states is None
    assert plain.attentions is None
    assert [x.shape for x in asked.hidden_states] == [(3, 6, 8)] * 3
    assert [x.shape for x in asked.attentions] == [(3, 2, 6, 6)] * 2
    np.testing.assert_array_equal(plain.logits, asked.logits)


def test_no_key_no_dropout(build, tiny):
    dropping = replace(tiny, hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.5)
    ids = batch("text-classification")[0]
    model, params = build("text-classification", tiny)
    noisy, _ = build("text-classification", dropping)
    np.testing.assert_array_equal(
        model.apply(params, None, ids).logits, noisy.apply(params, None, ids).logits
    )


@pytest.mark.parametrize(
    "where", ["hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"]
)
def test_a_key_means_dropout_that_it_determines(build, tiny, where):
    model, params = build("text-classification", replace(tiny, **{where: 0.5}))
    ids = batch("text-classification")[0]
    apply = jax.jit(model.apply)
    plain = apply(params, None, ids).logits
    first, again, other = (apply(params, jax.random.key(i), ids).logits for i in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert float(jnp.abs(first - plain).max()) > 1e-3
    assert float(jnp.abs(first - other).max()) > 1e-3


@pytest.mark.parametrize("task", ["text-classification", "token-classification"])
def test_classifier_dropout_leaves_the_mean_of_the_logits(build, tiny, task):
    """The classifier is linear, so the mean over many draws is the value without dropout."""
    model, params = build(task, replace(tiny, classifier_dropout=0.25))
    ids = batch(task)[0][:1]
    plain = model.apply(params, None, ids).logits
    keys = jax.random.split(jax.random.key(7), 4000)
    draws = jax.jit(jax.vmap(lambda key: model.apply(params, key, ids).logits))(keys)
    error = np.abs(draws.mean(axis=0) - plain)
    assert (error < 4.5 * np.asarray(draws.std(axis=0)) / np.sqrt(4000) + 1e-5).all()


def test_multiple_choice_scores_each_choice_by_itself(build):
    model, params = build("multiple-choice")
    ids, mask = batch("multiple-choice")
    together = model.apply(params, None, ids, attention_mask=mask).logits
    for i in range(3):
        one = slice(i, i + 1)
        alone = model.apply(params, None, ids[:, one], attention_mask=mask[:, one]).logits
        np.testing.assert_allclose(together[:, one], alone, atol=CLOSE)


def test_init_gives_the_parameters_that_apply_takes(tiny):
    model = make_model(tiny, "text-classification")
    ids = batch("text-classification")[0]
    params = jax.jit(model.init)(jax.random.key(0), ids)
    assert params["classifier"]["w"].shape == (8, 3)
    assert abs(float(params["bert/layer_0/intermediate"]["w"].std()) - 0.02) < 0.005
    assert np.isfinite(model.apply(params, None, ids).logits).all()


def test_a_text_longer_than_the_positions_is_an_error(build):
    model, params = build("text-classification")
    with pytest.raises(ValueError, match="13 tokens a row, but the model has positions for 12"):
        model.apply(params, None, jnp.ones((1, 13), jnp.int32))


def test_packed_rows_may_be_longer_than_the_positions(build):
    model, params = build("text-classification")
    text = [3, 5, 8, 9, 7, 6, 2, 1]
    row = {
        "input_ids": jnp.array([[*text, *text]]),
        "segment_ids": jnp.repeat(jnp.array([[1, 2]]), 8, axis=1),
    }
    packed = model.apply(params, None, **row, max_segments=2).logits[0]
    own = model.apply(params, None, **alone(text, [0] * 8)).logits
    np.testing.assert_allclose(packed, own, atol=CLOSE)


@pytest.mark.parametrize(
    "name", ["attention_mask", "token_type_ids", "position_ids", "segment_ids"]
)
@pytest.mark.parametrize("shape", [(4,), (1, 5), (2, 4), (1, 4, 4)])
def test_an_input_of_another_shape_is_named(build, name, shape):
    model, params = build("text-classification")
    with pytest.raises(ValueError, match=rf"{name} has the shape .* expected .* \(1, 4\)"):
        model.apply(params, None, jnp.ones((1, 4), jnp.int32), **{name: jnp.ones(shape)})


def test_a_mask_and_segments_together_are_an_error(build):
    model, params = build("text-classification")
    ones = jnp.ones((1, 4), jnp.int32)
    with pytest.raises(ValueError, match="attention_mask or segment_ids, not both"):
        model.apply(params, None, ones, attention_mask=ones, segment_ids=ones)


def test_an_unknown_task_is_an_error_that_lists_the_known(tiny):
    with pytest.raises(ValueError, match="'summarization' is not one of feature-extraction"):
        make_model(tiny, "summarization")
