from dataclasses import replace

import pytest

from bertjax.errors import UserError
from bertjax.models.configs import BertConfig

BASE = {"model_type": "bert", "hidden_size": 8, "num_attention_heads": 2}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("position_embedding_type", "relative_key"),
        ("position_embedding_type", "relative_key_query"),
        ("is_decoder", True),
        ("add_cross_attention", True),
        ("pruned_heads", {"0": [1]}),
        ("quantization_config", {"bits": 8}),
        ("model_type", "roberta"),
    ],
)
def test_a_field_that_would_change_the_numbers_is_refused_by_name(name, value):
    with pytest.raises(UserError, match=rf"config field {name} is .*only .* is supported"):
        BertConfig.from_dict({**BASE, name: value})


@pytest.mark.parametrize(
    "values",
    [
        {"position_embedding_type": "absolute", "is_decoder": False, "add_cross_attention": False},
        {"position_embedding_type": None, "is_decoder": None, "pruned_heads": {}},
        {"model_type": "bert", "quantization_config": None},
        {},
    ],
)
def test_neutral_values_of_those_fields_pass(values):
    assert BertConfig.from_dict({**BASE, **values}) == BertConfig.from_dict(BASE)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("hidden_act", "gelo", "gelu_new"),
        ("problem_type", "ranking", "multi_label_classification"),
        ("hidden_size", "8", "int"),
        ("hidden_size", None, "int"),
        ("num_attention_heads", 0, "at least 1"),
        ("num_hidden_layers", -1, "at least 0"),
        ("vocab_size", 2.5, "int"),
        ("layer_norm_eps", "1e-12", "float"),
        ("hidden_dropout_prob", 1.5, "0 to 1"),
        ("classifier_dropout", -0.1, "0 to 1"),
        ("tie_word_embeddings", "yes", "bool"),
        ("id2label", {"0": "a", "2": "c"}, "0 to 1 without a gap"),
        ("id2label", ["a", "b"], "name of each class"),
        ("id2label", {"zero": "a"}, "name of each class"),
        ("num_labels", "three", "int"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(name, value, expected):
    with pytest.raises(UserError) as raised:
        BertConfig.from_dict({**BASE, name: value})
    message = str(raised.value)
    assert name in message
    assert expected in message
    assert "\n" not in message


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(UserError, match="hidden_size 10 is not a multiple of num_attention_heads"):
        BertConfig(hidden_size=10, num_attention_heads=4)


def test_zero_layers_and_whole_number_rates_are_a_bert():
    config = BertConfig.from_dict({**BASE, "num_hidden_layers": 0, "hidden_dropout_prob": 0})
    assert (config.num_hidden_layers, config.hidden_dropout_prob) == (0, 0)


def test_labels_come_in_the_order_of_their_indices():
    config = BertConfig.from_dict(
        {**BASE, "id2label": {"10": "k", **{str(i): f"{i}" for i in range(10)}}}
    )
    assert config.id2label == (*(str(i) for i in range(10)), "k")
    assert config.num_labels == 11


def test_a_bare_number_of_labels_names_them():
    config = BertConfig.from_dict({**BASE, "num_labels": 3})
    assert config.id2label == ("LABEL_0", "LABEL_1", "LABEL_2")


@pytest.mark.parametrize(
    ("problem_type", "labels", "resolved"),
    [
        (None, 1, "regression"),
        (None, 2, "single_label_classification"),
        ("regression", 3, "regression"),
        ("single_label_classification", 1, "single_label_classification"),
        ("multi_label_classification", 2, "multi_label_classification"),
    ],
)
def test_the_problem_follows_from_the_number_of_labels_unless_it_is_said(
    problem_type, labels, resolved
):
    names = tuple(f"{i}" for i in range(labels))
    assert BertConfig(problem_type=problem_type, id2label=names).resolved_problem_type == resolved


def test_the_classifier_drops_out_as_the_rest_unless_it_is_said():
    config = BertConfig(hidden_dropout_prob=0.3)
    assert config.head_dropout == 0.3
    assert replace(config, classifier_dropout=0.0).head_dropout == 0.0
    assert replace(config, classifier_dropout=0.2).head_dropout == 0.2


@pytest.mark.parametrize(("named", "used"), [(0, 0), (3, 3), (None, 0)])
def test_what_pads_has_an_id_also_where_none_is_named(named, used):
    assert BertConfig(pad_token_id=named).padding_id == used


def test_head_size():
    assert BertConfig(hidden_size=384, num_attention_heads=12).head_size == 32


def test_what_is_read_is_written_again_with_every_field():
    values = {
        **BASE,
        "hidden_act": "relu",
        "classifier_dropout": 0.25,
        "pad_token_id": None,
        "tie_word_embeddings": False,
        "id2label": {"0": "no", "1": "yes", "2": "maybe"},
        "transformers_version": "5.23.0",
        "made_by": {"someone": [1, 2]},
    }
    written = BertConfig.from_dict(values).to_dict()
    assert {**written, **values} == written  # nothing lost, nothing changed
    assert written["label2id"] == {"no": 0, "yes": 1, "maybe": 2}
    assert BertConfig.from_dict(written) == BertConfig.from_dict(values)
    assert BertConfig.from_dict(written).to_dict() == written


def test_new_labels_replace_those_that_were_read():
    config = BertConfig.from_dict({**BASE, "id2label": {"0": "a"}, "label2id": {"a": 0}})
    written = replace(config, id2label=("x", "y")).to_dict()
    assert written["id2label"] == {"0": "x", "1": "y"}
    assert written["label2id"] == {"x": 0, "y": 1}


@pytest.mark.parametrize(
    ("rows", "tokens", "numbers"), [(8, 128, 8 * 128 * 3072), (2, 512, 2 * 12 * 512 * 512)]
)
def test_largest_activation_is_the_inner_one_or_the_scores(rows, tokens, numbers):
    assert BertConfig().largest_activation(rows, tokens) == 4 * numbers
