import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.checkpoints.folder import Checkpoint, load
from bertjax.checkpoints.run_file import RunFile, write_run_file
from bertjax.data.bulk import SLOTS
from bertjax.data.cleaning import clean_text
from bertjax.errors import UserError
from bertjax.serving.predictor import Predictor

WORDS = ("cat", "dog", "bank", "tax", "rain", "snow", "of", "the", "BERT", "猫", "été")


@pytest.fixture(scope="module")
def logits_of(checkpoint: Checkpoint) -> Callable[[str], np.ndarray]:
    """A text -> its logits [C] float64, computed alone in a row of 64."""
    apply = jax.jit(checkpoint.model.apply)

    def logits_of(text: str) -> np.ndarray:
        # In full first: what the tokenizer cuts is not what is under test.
        ids = checkpoint.tokenizer(text)["input_ids"]
        assert len(ids) <= 64
        row, mask = np.zeros((1, 64), np.int32), np.zeros((1, 64), np.int32)
        row[0, : len(ids)], mask[0, : len(ids)] = ids, 1
        return np.asarray(apply(checkpoint.params, None, row, mask).logits[0], np.float64)

    return logits_of


@pytest.fixture(scope="module")
def predictor(checkpoint: Checkpoint) -> Predictor:
    return Predictor.load(checkpoint.folder)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """90 texts of 0 to 28 words, in no order of length."""
    rng = np.random.default_rng(1)
    return [" ".join(rng.choice(WORDS, n)) for n in [0, *rng.integers(1, 29, 88), 1]]


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def expected(texts, logits_of) -> np.ndarray:
    """The logits of each text [N, C]."""
    return np.stack([logits_of(text) for text in texts])


def test_probabilities_are_the_softmax_of_each_text_alone_in_their_order(
    predictor, texts, expected
):
    found = predictor.probabilities(texts)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, softmax(expected), atol=1e-6, rtol=0)
    assert np.ptp(found, axis=0).max() > 0.3  # a mistaken order would show
    np.testing.assert_allclose(
        predictor.probabilities(texts[::-1]), softmax(expected)[::-1], atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("count", [1, 3, 17])
def test_any_number_of_texts_gives_the_same(count, predictor, texts, expected):
    found = predictor.probabilities(texts[:count])
    np.testing.assert_allclose(found, softmax(expected[:count]), atol=1e-6, rtol=0)


def test_batches_of_many_texts_are_as_large_as_those_of_few_where_these_are_larger(
    predictor, texts, expected
):
    predictor = Predictor(predictor.checkpoint)
    predictor.slots = 2 * SLOTS  # as on an accelerator
    said: list[str] = []
    found = predictor.predict(texts * 9, said.append).probabilities
    (plan,) = said
    rows, length = map(int, re.findall(r" of (\d+) x (\d+) tokens", plan)[0])
    assert rows == 2 * SLOTS // length
    np.testing.assert_allclose(found, np.tile(softmax(expected), (9, 1)), atol=1e-6, rtol=0)
    said.clear()
    predictor.predict(texts * 5, said.append)  # which fill one of them alone
    assert not said


def test_many_texts_are_packed_and_give_the_same(predictor, texts, expected, monkeypatch):
    shapes, bulk = [], predictor._bulk

    def seen(*inputs):
        shapes.append((inputs[1].shape, inputs[3]))
        return bulk(*inputs)

    monkeypatch.setattr(predictor, "_bulk", seen)
    said: list[str] = []
    found = predictor.predict(texts * 5, said.append).probabilities
    (plan,) = said
    assert plan.startswith(f"{len(texts) * 5} texts in ")
    (shape,) = set(shapes)  # one for all of them, packed
    assert shape[0][0] == SLOTS // shape[0][1]
    assert f" of {shape[0][0]} x {shape[0][1]} tokens (" in plan
    assert shape[1] is not None
    np.testing.assert_allclose(found, np.tile(softmax(expected), (5, 1)), atol=1e-6, rtol=0)


def test_a_single_text_is_padded_to_the_ladder_of_the_run(run_with):
    predictor = run_with(RunFile(ladder=(24, 40, 128)))
    assert [shape for shape in predictor.classifier.shapes if shape.rows == 1] == [
        (1, 24),
        (1, 40),
        (1, 64),
    ]


def test_no_texts_give_no_rows(predictor):
    found = predictor.predict([])
    assert found.probabilities.shape == (0, 3)
    assert found.probabilities.dtype == np.float32
    assert found.truncated.shape == (0,)
    assert predictor([]) == []


def test_a_prediction_names_its_classes(predictor, checkpoint, texts):
    rows = predictor.probabilities(texts)
    predictions = predictor(texts)
    assert predictor.labels == checkpoint.labels
    for row, prediction in zip(rows, predictions, strict=True):
        assert list(prediction["probabilities"]) == list(checkpoint.labels)
        np.testing.assert_array_equal(list(prediction["probabilities"].values()), row)
        assert prediction["label"] == checkpoint.labels[int(np.argmax(row))]
        assert prediction["score"] == row.max()
        assert prediction["truncated"] is False
        assert prediction["windows"] == 1
        assert prediction["prediction"] == prediction["label"]  # without a threshold
        assert isinstance(prediction["score"], float)  # not numpy's, for JSON
    assert len({prediction["label"] for prediction in predictions}) > 1


def test_any_iterable_of_texts_will_do(predictor, texts):
    expected = predictor.probabilities(texts[:3])
    for given in (tuple(texts[:3]), np.array(texts[:3]), (text for text in texts[:3])):
        np.testing.assert_array_equal(predictor.probabilities(given), expected)


@pytest.mark.parametrize(
    ("problem_type", "function"),
    [
        ("multi_label_classification", lambda logits: 1 / (1 + np.exp(-logits))),
        ("regression", lambda logits: logits),
    ],
)
def test_what_logits_mean_follows_from_the_problem(
    problem_type, function, checkpoint, texts, expected
):
    predictor = Predictor(load(checkpoint.folder, problem_type=problem_type))
    found = predictor.probabilities(texts[1:2])
    np.testing.assert_allclose(found, function(expected[1:2]), atol=1e-6, rtol=1e-6)


def test_one_label_is_a_value(packaged_folder, tmp_path, write_model):
    fields = {"num_hidden_layers": 0, "id2label": ("price",)}
    folder = write_model(tmp_path / "one", "text-classification", packaged_folder, **fields)
    one = load(folder)
    [prediction] = Predictor(one)(["cat"])
    ids = jnp.array([one.tokenizer("cat")["input_ids"]])
    value = float(one.model.apply(one.params, None, ids).logits[0, 0])
    assert prediction["label"] == "price"
    assert prediction["score"] == prediction["probabilities"]["price"]
    assert prediction["score"] == pytest.approx(value, abs=1e-6)


@pytest.fixture
def run_with(checkpoint: Checkpoint, tmp_path: Path) -> Callable[[RunFile], Predictor]:
    """A run file -> the predictor of a folder that has it."""

    def run_with(run: RunFile) -> Predictor:
        folder = shutil.copytree(checkpoint.folder, tmp_path / "run")
        write_run_file(folder, run)
        return Predictor.load(folder)

    return run_with


@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_logits_are_divided_by_the_temperature(temperature, run_with, texts, expected):
    predictor = run_with(RunFile(temperature=temperature))
    found = predictor.probabilities(texts[1:2])
    np.testing.assert_allclose(found, softmax(expected[1:2] / temperature), atol=1e-6, rtol=0)
    assert np.abs(found - softmax(expected[1:2])).max() > 0.01


def test_texts_are_cleaned_if_those_of_the_training_were(run_with, predictor, logits_of):
    text = "The CATS of https://example.com are, sadly, gone!"
    expected = softmax(logits_of(clean_text(text)))
    found = run_with(RunFile(clean=True)).probabilities([text])[0]
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)
    assert np.abs(found - predictor.probabilities([text])[0]).max() > 1e-3


def test_a_long_text_is_cut_and_flagged(run_with, logits_of):
    predictor = run_with(RunFile(max_length=5))  # [CLS] and [SEP] count
    assert predictor.max_length == 5
    texts = ["cat dog bank tax rain", "cat dog bank", "cat"]
    found = predictor.predict(texts)
    assert found.truncated.tolist() == [True, False, False]
    assert [p["truncated"] for p in predictor(texts)] == [True, False, False]
    np.testing.assert_array_equal(found.probabilities[0], found.probabilities[1])
    np.testing.assert_allclose(
        found.probabilities[1:],
        softmax(np.stack([logits_of("cat dog bank"), logits_of("cat")])),
        atol=1e-6,
        rtol=0,
    )


def test_a_long_text_is_read_in_windows_whose_logits_are_averaged(checkpoint, logits_of):
    predictor = Predictor(replace(checkpoint, run=RunFile(max_length=6)), long_texts="windows")
    found = predictor(["cat dog bank tax rain snow", "cat"])
    # Four words a window, of which the first was the last of the window before.
    logits = (logits_of("cat dog bank tax") + logits_of("tax rain snow")) / 2
    probabilities = [list(prediction["probabilities"].values()) for prediction in found]
    np.testing.assert_allclose(probabilities[0], softmax(logits), atol=1e-6, rtol=0)
    np.testing.assert_allclose(probabilities[1], softmax(logits_of("cat")), atol=1e-6, rtol=0)
    assert [prediction["windows"] for prediction in found] == [2, 1]
    assert [prediction["truncated"] for prediction in found] == [False, False]


def test_a_prediction_under_the_threshold_is_the_fallback_label(predictor, texts, monkeypatch):
    sure = predictor(texts)
    threshold = sorted(prediction["score"] for prediction in sure)[len(sure) // 2]
    monkeypatch.setattr(predictor, "threshold", threshold)
    for prediction, ruled in zip(sure, predictor(texts), strict=True):
        unsure = prediction["score"] < threshold
        assert ruled == {**prediction, "prediction": "uncertain" if unsure else ruled["label"]}


def test_the_fallback_is_the_class_other_where_there_is_one(checkpoint, texts):
    config = replace(checkpoint.config, id2label=("animals", "other", "weather"))
    predictor = Predictor(replace(checkpoint, config=config), 1.0)
    assert {prediction["prediction"] for prediction in predictor(texts[:2])} == {"other"}


def test_the_threshold_of_the_run_is_used_and_that_of_the_caller_goes_before(run_with, texts):
    predictor = run_with(RunFile(threshold=1.0))
    assert predictor(texts[1:2])[0]["prediction"] == "uncertain"
    other = Predictor(predictor.checkpoint, threshold=0.0)
    assert other(texts[1:2])[0]["prediction"] == other(texts[1:2])[0]["label"]


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_that_is_no_probability_is_refused(threshold, checkpoint):
    with pytest.raises(UserError, match=r"threshold is .*, but must be from 0 to 1"):
        Predictor(checkpoint, threshold)


def test_a_regression_has_no_threshold(checkpoint):
    predictor = Predictor(load(checkpoint.folder, problem_type="regression"), 1.0)
    [prediction] = predictor(["cat"])
    assert prediction["prediction"] == prediction["label"]


def test_an_embedding_is_the_mean_token_of_the_last_layer(checkpoint, predictor, texts):
    apply = jax.jit(partial(checkpoint.model.apply, output_hidden_states=True))
    found = predictor.embed(texts[:7])
    for text, row in zip(texts[:7], found, strict=True):
        ids = checkpoint.tokenizer(text)["input_ids"]
        padded, mask = np.zeros((1, 64), np.int32), np.zeros((1, 64), np.int32)
        padded[0, : len(ids)], mask[0, : len(ids)] = ids, 1
        last = apply(checkpoint.params, None, padded, mask).hidden_states[-1]
        mean = np.asarray(last[0, : len(ids)], np.float64).mean(axis=0)
        np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=1e-6, rtol=0)
    assert predictor.embed([]).shape == (0, 16)


@pytest.mark.parametrize(("asked", "got"), [(None, 64), (32, 32), (4096, 64)])
def test_no_text_is_longer_than_the_model_reads(asked, got, run_with):
    predictor = run_with(RunFile(max_length=asked))
    assert predictor.max_length == got
    truncated = predictor.predict(["cat " * (got - 2), "cat " * (got - 1)]).truncated
    assert truncated.tolist() == [False, True]


def test_a_damaged_run_file_is_refused(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint.folder, tmp_path / "run")
    (folder / "bertjax.json").write_text('{"temperature": NaN}')
    with pytest.raises(UserError, match=r"bertjax\.json is damaged"):
        Predictor.load(folder)


def test_bfloat16_is_close(checkpoint, texts, expected):
    found = Predictor.load(checkpoint.folder, "bfloat16").probabilities(texts[1:2])
    difference = np.abs(found - softmax(expected[1:2])).max()
    assert 1e-6 < difference < 0.03


def test_in_bfloat16_weights_are_rounded_once_and_the_checkpoint_keeps_its_own(checkpoint):
    short = load(checkpoint.folder, precision="bfloat16")
    predictor = Predictor(short)
    kinds = {x.dtype.name for x in jax.tree.leaves(predictor._params)}
    assert kinds == {"bfloat16", "float32"}
    assert {x.dtype.name for x in jax.tree.leaves(short.params)} == {"float32"}
    assert Predictor(checkpoint)._params is checkpoint.params


def test_one_text_is_no_list_of_texts(predictor):
    for call in (predictor, predictor.predict, predictor.probabilities):
        with pytest.raises(UserError, match=r"give a list of texts, not one text: predictor\(\["):
            call("a cat")


@pytest.mark.parametrize("text", [None, 3, float("nan"), b"a cat", ["a cat"]])
@pytest.mark.parametrize("clean", [False, True])
def test_what_is_no_text_is_named(text, clean, checkpoint):
    predictor = Predictor(replace(checkpoint, run=RunFile(clean=clean)))
    with pytest.raises(UserError, match=r"text 1 is .*, expected a str"):
        predictor(["a cat", text])


def test_a_head_of_another_size_is_not_trained(checkpoint):
    report = replace(checkpoint.report, mismatched=("classifier.weight [4, 16] for [3, 16]",))
    with pytest.raises(UserError, match="has no trained head"):
        Predictor(replace(checkpoint, report=report))


@pytest.mark.parametrize("task", ["feature-extraction", "fill-mask", "multiple-choice"])
def test_a_folder_of_another_task_is_refused(task, tmp_path, write_model):
    folder = write_model(tmp_path / "other", task, tmp_path, vocab_size=9, num_hidden_layers=0)
    with pytest.raises(UserError, match="has no trained head for text-classification") as error:
        Predictor.load(folder)
    assert "classifier.weight" in str(error.value)
    assert "bertjax finetune" in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=f"was loaded for {task}, expected a checkpoint of the"):
        Predictor(load(folder))


def test_a_classifier_of_tokens_with_a_pooler_is_refused(tmp_path, write_model):
    # As older versions of transformers wrote it: every tensor of a text classifier is there.
    fields = {"vocab_size": 9, "num_hidden_layers": 0}
    folder = write_model(tmp_path / "other", "text-classification", tmp_path, **fields)
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["BertForTokenClassification"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"has no trained head .*classifier\.weight"):
        Predictor.load(folder)


def test_two_classes_of_one_name_are_refused(checkpoint):
    config = replace(checkpoint.config, id2label=("a", "b", "a"))
    with pytest.raises(UserError, match=r"two classes one name \(a, b, a\)"):
        Predictor(replace(checkpoint, config=config))


def test_a_folder_without_a_tokenizer_is_refused(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint.folder, tmp_path / "mute")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UserError, match="mute holds no tokenizer"):
        Predictor.load(folder).probabilities(["a cat"])
