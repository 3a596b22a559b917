import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from bertjax.checkpoints.convert import Report, fold
from bertjax.checkpoints.folder import load
from bertjax.errors import UserError

QUERY = "bert.encoder.layer.{}.attention.self.query.weight"
WORDS = "bert.embeddings.word_embeddings.weight"
DECODER = "cls.predictions.decoder.weight"
HEAD = ("classifier.weight", "classifier.bias")
NAMED = {"id2label": ("no", "yes", "maybe")}
SHORT = {"num_hidden_layers": 0}  # where the layers are not the point: a new head compiles faster


def without(*names: str):
    return lambda tensors: {name: t for name, t in tensors.items() if name not in names}


def also(**tensors: np.ndarray):
    """Adds tensors; two underscores stand for a dot."""
    added = {name.replace("__", "."): tensor for name, tensor in tensors.items()}
    return lambda old: old | added


def weights(checkpoint) -> np.ndarray:
    return np.asarray(checkpoint.params["classifier"]["w"])


@pytest.mark.parametrize(
    ("names", "folded"),
    [
        ([], []),
        (["pooler.weight"], ["pooler.weight"]),
        (["a.layer.0.b", "a.layer.1.b", "a.layer.2.b"], ["a.layer.{0..2}.b"]),
        (["a.layer.2.b", "a.layer.0.b", "a.layer.1.b"], ["a.layer.{0..2}.b"]),
        (["a.layer.0.b", "a.layer.2.b"], ["a.layer.{0,2}.b"]),
        (["a.layer.11.b"], ["a.layer.11.b"]),
        (["a.layer.9.b", "a.layer.10.b"], ["a.layer.{9..10}.b"]),
        (["a.layer.0.b", "a.layer.1.c"], ["a.layer.0.b", "a.layer.1.c"]),
        (["x", "a.layer.0.b", "y", "a.layer.1.b"], ["x", "a.layer.{0..1}.b", "y"]),
    ],
)
def test_layers_are_folded(names, folded):
    assert fold(names) == folded


def test_the_report_reads_as_one_line():
    report = Report(("a", "b"), ("a.layer.0.b", "a.layer.1.b"), ("c",), ("d [2] for [3]",))
    assert str(report) == (
        "loaded 2 tensors; initialised from the seed: a.layer.{0..1}.b; "
        "not used (not in the model): c; "
        "initialised from the seed (of another shape in the checkpoint): d [2] for [3]"
    )
    assert str(Report(("a",), (), (), ())) == "loaded 1 tensors"


def test_a_checkpoint_that_fits_is_loaded_whole(write, make_checkpoint, assert_same_params):
    checkpoint = load(write("text-classification", **NAMED))
    report = checkpoint.report
    assert len(report.loaded) == 5 + 2 * 16 + 2 + 2
    assert (report.missing, report.unexpected, report.mismatched) == ((), (), ())
    expected = make_checkpoint("text-classification", **NAMED)
    assert_same_params(checkpoint.params, expected.params)


def old_names(tensors):
    names = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    renamed = {}
    for name, tensor in tensors.items():
        for new, old in names.items():
            name = name.replace(new, old)
        renamed[name] = tensor
    renamed["bert.embeddings.position_ids"] = np.arange(12)[None]
    return renamed


def bare_names(tensors):
    return {name.removeprefix("bert."): tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize("rename", [old_names, bare_names, lambda t: bare_names(old_names(t))])
def test_other_names_of_the_same_tensors(rename, write, change_tensors, assert_same_params):
    folder = write("text-classification", **NAMED)
    expected = load(folder)
    change_tensors(folder, rename)
    found = load(folder)
    assert found.report == expected.report
    assert_same_params(found.params, expected.params)


def test_a_bare_encoder_gets_a_head(write, assert_same_params):
    folder = write("feature-extraction", **SHORT)
    checkpoint = load(folder, "text-classification")
    assert checkpoint.report.missing == HEAD
    del checkpoint.params["classifier"]
    assert_same_params(checkpoint.params, load(folder).params)


def test_features_are_taken_from_below_a_head(write, assert_same_params):
    folder = write("text-classification", **SHORT)
    checkpoint, headed = load(folder, "feature-extraction"), load(folder)
    assert checkpoint.report.unexpected == ("classifier.bias", "classifier.weight")
    del headed.params["classifier"]
    assert_same_params(checkpoint.params, headed.params)


def test_missing_tensors_of_the_encoder_are_refused(write, change_tensors):
    folder = write("fill-mask")
    change_tensors(folder, without(QUERY.format(0), QUERY.format(1), WORDS))
    with pytest.raises(UserError) as raised:
        load(folder)
    message = str(raised.value)
    assert f"missing: {WORDS}, {QUERY.format('{0..1}')} (" in message
    assert "unexpected" not in message
    assert "\n" not in message


def test_tensors_of_no_bert_are_refused(write, change_tensors):
    folder = write("fill-mask")
    change_tensors(folder, also(adapter__weight=np.zeros(3), bert__extra=np.zeros(3)))
    with pytest.raises(UserError, match=r"config: unexpected: adapter.weight, bert.extra \("):
        load(folder)


def test_more_layers_than_the_config_says_are_refused(write, change_config):
    folder = write("fill-mask")
    change_config(folder, num_hidden_layers=1)
    with pytest.raises(UserError, match=r"unexpected: bert.encoder.layer.1.attention.output"):
        load(folder)


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        (WORDS, (30, 8), "[30, 8] for [29, 8]"),
        ("bert.encoder.layer.1.intermediate.dense.weight", (15, 8), "[15, 8] for [16, 8]"),
        ("bert.encoder.layer.1.intermediate.dense.bias", (16, 1), "[16, 1] for [16]"),
        # Of the right size only if it were not transposed.
        ("bert.encoder.layer.0.output.dense.weight", (16, 8), "[16, 8] for [8, 16]"),
        # A head of another size is no missing head.
        ("classifier.weight", (4, 8), "[4, 8] for [2, 8]"),
    ],
)
def test_a_tensor_of_another_shape_is_refused(name, shape, expected, write, change_tensors):
    folder = write("text-classification")
    change_tensors(folder, lambda tensors: tensors | {name: np.zeros(shape, np.float32)})
    with pytest.raises(UserError) as raised:
        load(folder)
    assert f"of another shape than the config says: {name} {expected} (" in str(raised.value)


def test_all_that_is_wrong_is_told_at_once_and_a_long_list_is_cut(write, change_tensors):
    folder = write("fill-mask")

    def change(tensors):
        kept = {name: t for name, t in tensors.items() if ".layer." not in name}
        return kept | {WORDS: np.zeros(2, np.float32), "adapter": np.zeros(2)}

    change_tensors(folder, change)
    with pytest.raises(UserError) as raised:
        load(folder)
    missing, unexpected, mismatched = str(raised.value).split("; ")[:3]
    assert missing.count("{0..1}") == 8
    assert missing.endswith(" and 8 more")
    assert unexpected == "unexpected: adapter"
    assert mismatched.startswith(f"of another shape than the config says: {WORDS} [2] for [29, 8]")


def test_what_is_allowed_passes_and_is_reported(write, change_tensors, assert_same_params):
    folder = write("fill-mask")
    whole = load(folder)
    norm, adapter = "bert.encoder.layer.1.output.LayerNorm.weight", "adapter.weight"

    def change(tensors):
        return without(norm)(tensors) | {
            adapter: np.zeros(2),
            WORDS: np.zeros((3, 8), np.float32),
        }

    change_tensors(folder, change)
    allowed = ["*.layer.1.output.LayerNorm.*", "adapter.*", WORDS]
    checkpoint = load(folder, allow=allowed)
    assert checkpoint.report.missing == (norm,)
    assert checkpoint.report.unexpected == (adapter,)
    assert checkpoint.report.mismatched == (f"{WORDS} [3, 8] for [29, 8]",)
    assert len(checkpoint.report.loaded) == len(whole.report.loaded) - 2
    np.testing.assert_array_equal(checkpoint.params["bert/layer_1/output_norm"]["scale"], 1.0)
    words = checkpoint.params["bert/embeddings/word_embeddings"]["embeddings"]
    assert words.shape == (29, 8)
    assert 0.01 < float(words.std()) < 0.03  # initializer_range
    assert_same_params(
        checkpoint.params["bert/layer_0/output"], whole.params["bert/layer_0/output"]
    )
    for i in range(3):
        with pytest.raises(UserError, match="do not fit its config"):
            load(folder, allow=allowed[:i] + allowed[i + 1 :])


def test_a_pattern_in_place_of_a_list_is_refused(write):
    with pytest.raises(UserError, match=r"allow is the text 'classifier\.\*': give a list"):
        load(write("fill-mask"), allow="classifier.*")  # each letter would be a pattern, `*` too


def test_a_new_head_comes_from_the_seed(write, assert_same_params):
    folder = write("feature-extraction", **SHORT)
    labels = ["a", "b", "c"]
    one, same, other = (
        load(folder, "text-classification", labels, seed=seed) for seed in (1, 1, 2)
    )
    assert one.report.missing == HEAD
    assert "initialised from the seed: classifier.weight, classifier.bias" in str(one.report)
    assert weights(one).shape == (8, 3)
    assert_same_params(one.params, same.params)
    assert not np.isclose(weights(one), weights(other)).any()
    np.testing.assert_array_equal(one.params["classifier"]["b"], 0.0)
    for checkpoint in (one, other):
        del checkpoint.params["classifier"]
    assert_same_params(one.params, other.params)


def test_a_head_with_the_same_labels_is_kept(write, make_checkpoint):
    checkpoint = load(write("text-classification", **NAMED), labels=["no", "yes", "maybe"])
    assert checkpoint.report.missing == ()
    np.testing.assert_array_equal(
        weights(checkpoint), weights(make_checkpoint("text-classification", **NAMED))
    )


def test_labels_are_compared_as_text(write):
    folder = write("text-classification", id2label=("0", "1"))
    checkpoint = load(folder, labels=[0, 1])  # pyright: ignore[reportArgumentType]
    assert checkpoint.labels == ("0", "1")
    assert checkpoint.report.missing == ()


@pytest.mark.parametrize("task", ["text-classification", "token-classification"])
def test_a_head_without_names_gets_them(task, write, make_checkpoint):
    unnamed = {"id2label": ("LABEL_0", "LABEL_1", "LABEL_2")}
    checkpoint = load(write(task, **unnamed), labels=["x", "y", "z"])
    assert checkpoint.labels == ("x", "y", "z")
    assert checkpoint.report.missing == ()
    expected = make_checkpoint(task, **unnamed)
    np.testing.assert_array_equal(weights(checkpoint), weights(expected))


@pytest.mark.parametrize(
    "labels", [["a", "b", "c"], ["yes", "no", "maybe"], ["no", "yes"], ["LABEL_0", "yes", "maybe"]]
)
def test_a_head_for_other_labels_is_new(labels, write, make_checkpoint):
    checkpoint = load(write("text-classification", **NAMED, **SHORT), labels=labels)
    assert checkpoint.labels == tuple(labels)
    assert checkpoint.report.missing == HEAD
    assert checkpoint.report.mismatched == ()
    assert weights(checkpoint).shape == (8, len(labels))
    assert float(np.abs(weights(checkpoint)).max()) < 0.1  # those in the file are much larger
    assert (checkpoint.params["classifier"]["b"] == 0).all()


def test_heads_of_other_tasks_are_left_there(write):
    checkpoint = load(write("pretraining", **SHORT), "question-answering")
    assert checkpoint.report.missing == ("qa_outputs.weight", "qa_outputs.bias")
    assert set(checkpoint.report.unexpected) == {
        "bert.pooler.dense.weight",
        "bert.pooler.dense.bias",
        "cls.seq_relationship.weight",
        "cls.seq_relationship.bias",
        "cls.predictions.bias",
        "cls.predictions.transform.dense.weight",
        "cls.predictions.transform.dense.bias",
        "cls.predictions.transform.LayerNorm.weight",
        "cls.predictions.transform.LayerNorm.bias",
    }
    assert "not used (not in the model): bert.pooler.dense.bias" in str(checkpoint.report)


@pytest.mark.parametrize(
    ("task", "other"),
    [
        ("token-classification", "text-classification"),
        ("text-classification", "token-classification"),
        ("text-classification", "multiple-choice"),
        ("multiple-choice", "text-classification"),
    ],
)
def test_a_classifier_of_another_task_is_not_taken_for_this_one(task, other, write):
    # All are called `classifier`, and those of two of these pairs have the same shape.
    checkpoint = load(write(task, **SHORT), other)
    assert set(HEAD) <= set(checkpoint.report.missing)
    assert checkpoint.report.mismatched == ()
    assert float(np.abs(weights(checkpoint)).max()) < 0.1


def test_a_classifier_of_tokens_without_names_does_not_get_those_of_texts(write):
    checkpoint = load(write("token-classification", **SHORT), "text-classification", ["a", "b"])
    assert set(HEAD) <= set(checkpoint.report.missing)


def test_an_absent_pooler(write):
    folder = write("feature-extraction", has_pooler=False, **SHORT)
    checkpoint = load(folder)
    assert not checkpoint.has_pooler
    assert checkpoint.report.missing == ()
    output = checkpoint.model.apply(checkpoint.params, None, jnp.ones((1, 3), jnp.int32))
    assert output.pooler_output is None
    classifier = load(folder, "text-classification")
    pooler = ("bert.pooler.dense.weight", "bert.pooler.dense.bias")
    assert classifier.report.missing == (*pooler, *HEAD)


def decoder_of(checkpoint) -> np.ndarray:
    return np.asarray(checkpoint.params["bert/embeddings/word_embeddings"]["embeddings"])


def test_a_tied_decoder_may_be_there_absent_or_alone(write, change_tensors, assert_same_params):
    folder = write("fill-mask")
    expected = load(folder)  # we write none
    change_tensors(folder, lambda tensors: tensors | {DECODER: tensors[WORDS]})
    both = load(folder)
    assert both.report == expected.report
    change_tensors(folder, without(WORDS))
    alone = load(folder)
    assert alone.report == expected.report
    for checkpoint in (both, alone):
        assert_same_params(checkpoint.params, expected.params)


def test_a_decoder_of_its_own(write, make_checkpoint, change_tensors, assert_same_params):
    folder = write("fill-mask", tie_word_embeddings=False)
    checkpoint = load(folder)
    expected = make_checkpoint("fill-mask", tie_word_embeddings=False)
    assert checkpoint.params["~"]["decoder"].shape == (29, 8)
    assert not np.allclose(checkpoint.params["~"]["decoder"], decoder_of(checkpoint))
    assert_same_params(checkpoint.params, expected.params)
    change_tensors(folder, without(WORDS))
    with pytest.raises(UserError, match=f"missing: {WORDS}"):  # the decoder is not the embedding
        load(folder)


@pytest.mark.parametrize("tied", [True, False])
def test_the_bias_of_the_decoder_under_either_name(tied, write, change_tensors, assert_same_params):
    folder = write("fill-mask", tie_word_embeddings=tied)
    expected = load(folder)
    names = ("cls.predictions.bias", "cls.predictions.decoder.bias")
    for name in names:
        bias = np.asarray(expected.params["~"]["decoder_bias"])
        change_tensors(folder, lambda tensors, n=name, b=bias: without(*names)(tensors) | {n: b})
        found = load(folder)
        assert found.report == expected.report
        assert_same_params(found.params, expected.params)


@pytest.mark.parametrize("param_dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("stored", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_parameters_have_the_dtype_that_is_asked_for(
    stored, param_dtype, write, make_checkpoint, change_tensors, assert_same_params
):
    folder = write("text-classification")
    change_tensors(folder, lambda tensors: {name: t.astype(stored) for name, t in tensors.items()})
    found = load(folder, param_dtype=param_dtype)
    expected = jax.tree.map(
        lambda leaf: jnp.asarray(np.asarray(leaf).astype(stored).astype(jnp.dtype(param_dtype))),
        make_checkpoint("text-classification").params,
    )
    assert_same_params(found.params, expected)


def test_a_new_head_has_the_dtype_of_the_others(write):
    checkpoint = load(
        write("feature-extraction", **SHORT), "text-classification", param_dtype="bfloat16"
    )
    assert {a.dtype.name for p in checkpoint.params.values() for a in p.values()} == {"bfloat16"}


@pytest.mark.parametrize("param_dtype", ["int8", "int32", "half precision", "float64"])
def test_another_dtype_is_refused(param_dtype, write):
    with pytest.raises(UserError, match="is not one of float32, bfloat16, float16"):
        load(write("text-classification"), param_dtype=param_dtype)
