import json
import shutil
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from bertjax.checkpoints import folder as module
from bertjax.checkpoints.folder import load, save
from bertjax.checkpoints.names import ARCHITECTURES
from bertjax.checkpoints.safetensors_files import write_safetensors
from bertjax.data.tokens import tokenize
from bertjax.errors import UserError
from bertjax.models.configs import TASKS
from bertjax.models.pooling import SentencePooling


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def config_of(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


VARIANTS = [
    *((task, {}) for task in TASKS),
    ("feature-extraction", {"has_pooler": False}),
    ("feature-extraction", {"pooling": SentencePooling("cls", normalize=True)}),
    ("fill-mask", {"tie_word_embeddings": False}),
    ("pretraining", {"tie_word_embeddings": False, "hidden_act": "xielu"}),
    ("text-classification", {"hidden_act": "prelu", "id2label": ("a",)}),
    ("token-classification", {"num_hidden_layers": 0}),
]


@pytest.mark.parametrize(("task", "options"), VARIANTS)
def test_load_save_load_is_bit_equal(
    task, options, make_checkpoint, write, tmp_path, assert_same_params
):
    written = make_checkpoint(task, **options)
    first = load(write(task, **options))
    save(first, tmp_path / "again")
    second = load(tmp_path / "again")
    for read in (first, second):
        assert_same_params(read.params, written.params)
        assert read.task == task  # from `architectures`
        assert read.config == written.config
        assert read.has_pooler == written.has_pooler
        assert read.sentence_pooling == written.sentence_pooling
        assert read.report.missing == read.report.unexpected == read.report.mismatched == ()
    assert (first.folder, second.folder) == (tmp_path / "source", tmp_path / "again")
    for name in ("config.json", "model.safetensors"):
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()


@pytest.mark.parametrize("task", TASKS)
def test_what_is_written_says_what_transformers_asks_for(task, write):
    folder = write(task)
    config = config_of(folder)
    assert config["architectures"] == [ARCHITECTURES[task]]
    assert config["model_type"] == "bert"
    assert config["dtype"] == "float32"
    bare = {name.split(".")[0] for name in load_file(folder / "model.safetensors")}
    assert ("bert" in bare) == (task != "feature-extraction")


def test_the_model_computes_the_same_after_a_save(write, tmp_path):
    before = load(write("text-classification", num_hidden_layers=1))
    save(before, tmp_path / "again")
    after = load(tmp_path / "again")
    ids = jnp.arange(10).reshape(2, 5)
    one, two = (c.model.apply(c.params, None, ids).logits for c in (before, after))
    np.testing.assert_array_equal(one, two)
    assert float(jnp.abs(one).max()) > 0.1


def test_extra_fields_of_the_config_survive(write, change_config, tmp_path):
    folder = write("fill-mask")
    extra = {"transformers_version": "4.0", "my_notes": {"by": ["someone", 1]}, "use_cache": False}
    change_config(folder, **extra, classifier_dropout=0.25, layer_norm_eps=1e-7)
    save(load(folder), tmp_path / "again")
    written = config_of(tmp_path / "again")
    assert extra.items() <= written.items()
    assert (written["classifier_dropout"], written["layer_norm_eps"]) == (0.25, 1e-7)


@pytest.mark.parametrize("param_dtype", ["float32", "bfloat16"])
def test_the_dtype_is_that_of_the_parameters_and_not_what_the_config_says(
    param_dtype, write, change_config, tmp_path, assert_same_params
):
    folder = write("text-classification")
    change_config(folder, torch_dtype="float16", dtype="float64")
    checkpoint = load(folder, param_dtype=param_dtype)
    save(checkpoint, tmp_path / "again")
    written = config_of(tmp_path / "again")
    assert written["dtype"] == param_dtype
    assert "torch_dtype" not in written
    tensors = load_file(tmp_path / "again" / "model.safetensors")
    assert {tensor.dtype.name for tensor in tensors.values()} == {param_dtype}
    again = load(tmp_path / "again", param_dtype=param_dtype)
    assert_same_params(again.params, checkpoint.params)


def test_changed_parameters_are_the_ones_that_are_saved(write, tmp_path, assert_same_params):
    checkpoint = load(write("text-classification"))
    trained = replace(checkpoint, params=jax.tree.map(lambda x: x * 1.5, checkpoint.params))
    save(trained, tmp_path / "trained")
    assert_same_params(load(tmp_path / "trained").params, trained.params)


def cut_in_two(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    half = len(tensors) // 2
    shard_of = {}
    for number, part in enumerate((sorted(tensors)[:half], sorted(tensors)[half:]), start=1):
        shard = f"model-0000{number}-of-00002.safetensors"
        write_safetensors(folder / shard, {name: tensors[name] for name in part})
        shard_of |= dict.fromkeys(part, shard)
    index = json.dumps({"metadata": {}, "weight_map": shard_of})
    (folder / "model.safetensors.index.json").write_text(index)


def test_shards_are_read_as_one(write, tmp_path, assert_same_params):
    folder = write("pretraining")
    expected = load(folder)
    cut_in_two(folder)
    found = load(folder)
    assert found.report == expected.report
    assert_same_params(found.params, expected.params)
    save(found, tmp_path / "again")
    assert names(tmp_path / "again") == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("function", ["write_safetensors", "write_pooling", "write_tensors"])
@pytest.mark.parametrize("stands", [True, False])
def test_a_save_that_fails_in_the_middle_leaves_nothing(
    function, stands, make_checkpoint, write, monkeypatch, tmp_path
):
    options = {"pooling": SentencePooling("mean", normalize=False)}
    checkpoint = make_checkpoint("feature-extraction", **options)
    folder = write("fill-mask", "kept") if stands else tmp_path / "new"
    before = {path.name: path.read_bytes() for path in folder.iterdir()} if stands else {}

    def fail(*arguments, **options):
        raise RuntimeError("the disk is gone")

    monkeypatch.setattr(module, function, fail)
    with pytest.raises(RuntimeError):
        save(checkpoint, folder, overwrite=stands)
    assert names(tmp_path) == (["kept"] if stands else [])
    if stands:
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_an_existing_folder_is_refused(write, make_checkpoint):
    folder = write("fill-mask")
    with pytest.raises(UserError, match="source exists already"):
        save(make_checkpoint("pretraining"), folder)
    assert load(folder).task == "fill-mask"
    assert names(folder.parent) == ["source"]


def test_a_checkpoint_is_saved_over_the_folder_it_was_read_from(
    tiny_folder, tmp_path, assert_same_params
):
    folder = shutil.copytree(tiny_folder, tmp_path / "here")
    checkpoint = load(folder)
    trained = replace(checkpoint, params=jax.tree.map(lambda x: x + 1, checkpoint.params))
    save(trained, folder, overwrite=True)
    assert names(tmp_path) == ["here"]
    assert names(folder) == names(tiny_folder)
    again = load(folder)
    assert_same_params(again.params, trained.params)
    assert again.tokenizer("a cat")["input_ids"] == trained.tokenizer("a cat")["input_ids"]


def test_a_file_in_the_place_of_the_parent_is_refused(make_checkpoint, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"cannot write .*file is a file, expected a folder"):
        save(make_checkpoint("fill-mask"), tmp_path / "file" / "out")
    assert names(tmp_path) == ["file"]


def test_the_home_folder_has_its_short_name(write, make_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save(make_checkpoint("fill-mask"), "~/mine")
    assert names(tmp_path) == ["mine"]
    assert load("~/mine").folder == tmp_path / "mine"


def test_several_architectures_or_one_alone(write, change_config):
    folder = write("fill-mask")
    change_config(folder, architectures=["MyOwnBert", "BertForMaskedLM"])
    assert load(folder).task == "fill-mask"
    change_config(folder, architectures="BertForMaskedLM")
    assert load(folder).task == "fill-mask"


@pytest.mark.parametrize("architectures", [None, [], ["BertLMHeadModel"]])
def test_a_config_that_names_no_task_of_ours_asks_for_one(architectures, write, change_config):
    folder = write("fill-mask")
    change_config(folder, architectures=architectures)
    with pytest.raises(UserError, match="does not say which task") as error:
        load(folder)
    assert str(architectures) in str(error.value)
    assert "fill-mask, next-sentence-prediction" in str(error.value)
    assert load(folder, "fill-mask").report.missing == ()
    with pytest.raises(UserError, match="task 'summarization' is not one of feature-extraction"):
        load(folder, "summarization")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model_type", "roberta"),
        ("position_embedding_type", "relative_key"),
        ("is_decoder", True),
        ("add_cross_attention", True),
        ("pruned_heads", {"0": [1]}),
        ("quantization_config", {"bits": 8}),
        ("hidden_act", "gelo"),
        ("problem_type", "ranking"),
    ],
)
def test_a_field_that_changes_the_numbers_is_refused_by_name(field, value, write, change_config):
    folder = write("fill-mask")
    change_config(folder, **{field: value})
    with pytest.raises(UserError, match=rf"\b{field} ") as error:
        load(folder)
    assert repr(value) in str(error.value)
    assert "\n" not in str(error.value)


DAMAGED = {
    "empty": b"",
    "cut": b'{"model_type": "bert"',
    "a list": b"[1]",
    "null": b"null",
    "no text": b'{"model_type": "\xff"}',
    "NaN": b'{"model_type": "bert", "layer_norm_eps": NaN}',
    "infinite": b'{"model_type": "bert", "hidden_dropout_prob": -Infinity}',
    "too deep": b"[" * 100_000,
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_config_is_refused(name, write):
    folder = write("fill-mask")
    (folder / "config.json").write_bytes(DAMAGED[name])
    with pytest.raises(UserError, match=r"source/config\.json") as error:
        load(folder)
    assert "\n" not in str(error.value)


def test_a_folder_without_a_config_is_refused(write):
    folder = write("fill-mask")
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match=r"holds no config\.json"):
        load(folder)
    (folder / "config.json").mkdir()
    with pytest.raises(UserError, match=r"config\.json cannot be read"):
        load(folder)


@pytest.mark.parametrize("fields", [{}, {"num_labels": 2}])
def test_a_config_without_names_of_classes(fields, write, change_config):
    folder = write("text-classification")
    change_config(folder, id2label=None, label2id=None, **fields)
    checkpoint = load(folder)
    assert checkpoint.labels == ("LABEL_0", "LABEL_1")
    assert checkpoint.report.missing == ()


def test_labels_of_any_letters_survive(write, tmp_path):
    labels = ["猫", 'a "quoted"\nline', "кошка", "🐈", "", " "]
    folder = write("feature-extraction", num_hidden_layers=0)
    checkpoint = load(folder, "text-classification", labels)
    save(checkpoint, tmp_path / "again")
    again = load(tmp_path / "again", labels=labels)
    assert again.labels == tuple(labels)
    assert again.report.missing == ()
    assert "猫" in (tmp_path / "again" / "config.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["a", "b", "a"], "labels has 'a' twice"),
        ([1, "1"], "labels has '1' twice"),
        ("ab", "labels is 'ab': give a list"),
        ([], r"labels is \[\]: give a list"),
    ],
)
def test_labels_that_cannot_name_classes_are_refused(labels, expected, write):
    with pytest.raises(UserError, match=expected):
        load(write("feature-extraction"), "text-classification", labels)


@pytest.mark.parametrize("task", ["feature-extraction", "multiple-choice", "fill-mask"])
def test_labels_of_a_task_without_are_refused(task, write):
    with pytest.raises(UserError, match=f"labels are given, but {task} has none"):
        load(write(task), labels=["a", "b"])


def test_one_label_is_a_regression(write):
    folder = write("feature-extraction", num_hidden_layers=0)
    checkpoint = load(folder, "text-classification", ["price"])
    assert checkpoint.config.resolved_problem_type == "regression"
    assert checkpoint.model.apply(checkpoint.params, None, jnp.ones((2, 3))).logits.shape == (2, 1)


def test_the_problem_type_is_that_of_the_caller_and_is_saved(write, change_config, tmp_path):
    folder = write("text-classification")
    change_config(folder, problem_type="regression")
    assert load(folder).config.problem_type == "regression"
    chosen = "multi_label_classification"
    save(load(folder, problem_type=chosen), tmp_path / "again")
    assert load(tmp_path / "again").config.problem_type == chosen
    with pytest.raises(UserError, match="problem_type 'ranking' is not one of"):
        load(folder, problem_type="ranking")


def test_the_features_of_a_classifier_keep_its_labels_but_not_its_head(
    write, tmp_path, assert_same_params
):
    features = load(
        write("text-classification", id2label=("no", "yes"), num_hidden_layers=0),
        "feature-extraction",
    )
    save(features, tmp_path / "features")
    again = load(tmp_path / "features")
    assert again.task == "feature-extraction"
    assert again.labels == ("no", "yes")
    assert again.has_pooler
    assert_same_params(again.params, features.params)
    headed = load(tmp_path / "features", "text-classification")
    assert headed.report.missing == ("classifier.weight", "classifier.bias")


def test_a_folder_without_a_tokenizer_loads_and_saves(write, tmp_path):
    checkpoint = load(write("fill-mask"))
    with pytest.raises(UserError, match="source holds no tokenizer"):
        _ = checkpoint.tokenizer
    (checkpoint.folder / "tokenizer_config.json").write_text("{}")  # is no tokenizer
    save(checkpoint, tmp_path / "again")
    assert names(tmp_path / "again") == ["config.json", "model.safetensors"]


def test_the_tokenizer_is_saved_as_it_was_and_not_as_it_was_last_used(tiny_folder, tmp_path):
    checkpoint = load(tiny_folder)
    tokenize(checkpoint.tokenizer, ["one two three four five six"], max_length=4)
    save(checkpoint, tmp_path / "again")
    one, two = (
        json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        for folder in (tiny_folder, tmp_path / "again")
    )
    assert one["truncation"] == two["truncation"]
    assert one["padding"] == two["padding"]
    assert one == two
    ids = load(tmp_path / "again").tokenizer("one two three four five six")["input_ids"]
    assert ids == checkpoint.tokenizer("one two three four five six")["input_ids"]


def test_a_vocabulary_alone_is_a_tokenizer(write, packaged_folder, tmp_path):
    folder = write("fill-mask")
    for name in ("vocab.txt", "tokenizer_config.json"):
        shutil.copy(packaged_folder / name, folder)
    checkpoint = load(folder)
    save(checkpoint, tmp_path / "again")
    assert "tokenizer.json" in names(tmp_path / "again")
    again = load(tmp_path / "again")
    assert again.tokenizer("Some Text")["input_ids"] == [101, 2070, 3793, 102]


def test_the_embedding_of_a_sentence_is_the_same_after_a_save(write, tmp_path):
    pooling = SentencePooling("mean", normalize=True)
    before = load(write("feature-extraction", pooling=pooling, num_hidden_layers=0))
    save(before, tmp_path / "again")
    after = load(tmp_path / "again")
    ids, mask = jnp.array([[1, 2, 3], [4, 5, 0]]), jnp.array([[1, 1, 1], [1, 1, 0]])
    one, two = (
        c.model.apply(c.params, None, ids, mask).sentence_embedding for c in (before, after)
    )
    np.testing.assert_array_equal(one, two)
    np.testing.assert_allclose(jnp.linalg.norm(one, axis=-1), 1.0, rtol=1e-6)


def test_a_classifier_on_a_sentence_encoder_has_no_pooling_of_sentences(write, tmp_path):
    pooling = SentencePooling("mean", normalize=True)
    folder = write("feature-extraction", pooling=pooling, num_hidden_layers=0)
    checkpoint = load(folder, "text-classification", ["a", "b"])
    assert checkpoint.sentence_pooling is None
    save(checkpoint, tmp_path / "again")
    assert names(tmp_path / "again") == ["config.json", "model.safetensors"]
