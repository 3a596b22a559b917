from collections import Counter
from dataclasses import replace

import pytest
from safetensors import safe_open

from bertjax.checkpoints.names import (
    ARCHITECTURES,
    canonical_names,
    encoder_rows,
    head_rows,
    is_head,
)
from bertjax.models.configs import TASKS, BertConfig

POOLER = {"bert.pooler.dense.weight", "bert.pooler.dense.bias"}
SEQ_RELATIONSHIP = {"cls.seq_relationship.weight", "cls.seq_relationship.bias"}
CLASSIFIER = {"classifier.weight", "classifier.bias"}
MASKED_LM = {
    "cls.predictions.bias",
    "cls.predictions.transform.dense.weight",
    "cls.predictions.transform.dense.bias",
    "cls.predictions.transform.LayerNorm.weight",
    "cls.predictions.transform.LayerNorm.bias",
}
HEADS = {
    "feature-extraction": POOLER,
    "fill-mask": MASKED_LM,
    "next-sentence-prediction": POOLER | SEQ_RELATIONSHIP,
    "pretraining": POOLER | MASKED_LM | SEQ_RELATIONSHIP,
    "text-classification": POOLER | CLASSIFIER,
    "token-classification": CLASSIFIER,
    "question-answering": {"qa_outputs.weight", "qa_outputs.bias"},
    "multiple-choice": POOLER | CLASSIFIER,
}


def described(rows) -> dict[tuple[str, str], tuple[int, ...]]:
    """The shape that the rows give each parameter of the model."""
    return {
        (row.module, row.param): row.shape[::-1] if row.transposed else row.shape for row in rows
    }


def shapes_of(params) -> dict[tuple[str, str], tuple[int, ...]]:
    return {(module, p): array.shape for module, ps in params.items() for p, array in ps.items()}


def test_every_task_has_a_class_of_transformers():
    assert tuple(ARCHITECTURES) == TASKS


@pytest.mark.parametrize("hidden_act", ["gelu", "prelu", "xielu"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("task", TASKS)
def test_the_rows_are_the_parameters_of_the_model(task, tied, hidden_act, make_checkpoint):
    fields = {"tie_word_embeddings": tied, "hidden_act": hidden_act, "num_hidden_layers": 1}
    checkpoint = make_checkpoint(task, **fields)
    rows = [*encoder_rows(checkpoint.config), *head_rows(checkpoint.config, task)]
    assert described(rows) == shapes_of(checkpoint.params)
    both = [(row.module, row.param) for row in rows]
    names = [name for row in rows for name in (row.name, *row.copies)]
    assert Counter(both).most_common(1)[0][1] == Counter(names).most_common(1)[0][1] == 1
    assert not any("{" in name for row in rows for name in (row.name, row.module))


def test_without_a_pooler_feature_extraction_adds_nothing(make_checkpoint):
    checkpoint = make_checkpoint("feature-extraction", has_pooler=False)
    assert head_rows(checkpoint.config, "feature-extraction", has_pooler=False) == []
    assert described(encoder_rows(checkpoint.config)) == shapes_of(checkpoint.params)


def test_the_encoder_has_the_names_of_a_real_checkpoint(packaged_folder):
    config = BertConfig(hidden_size=384, num_hidden_layers=6, intermediate_size=1536)
    rows = [*encoder_rows(config), *head_rows(config, "feature-extraction")]
    with safe_open(packaged_folder / "model.safetensors", framework="np") as file:
        real = set(file.keys()) - {"embeddings.position_ids"}
    assert {row.name.removeprefix("bert.") for row in rows} == real


@pytest.mark.parametrize("task", TASKS)
def test_a_head_has_the_names_that_transformers_gives_it(task):
    rows = head_rows(BertConfig(), task)
    assert {row.name for row in rows} == HEADS[task]
    assert all(is_head(row.name) for row in rows)


def test_the_encoder_is_no_head():
    assert not any(is_head(row.name) for row in encoder_rows(BertConfig()))


def test_a_decoder_of_its_own_has_its_weight_and_both_names_of_its_bias():
    rows = {row.name: row for row in head_rows(BertConfig(tie_word_embeddings=False), "fill-mask")}
    added = {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
    assert set(rows) == MASKED_LM - {"cls.predictions.bias"} | added
    bias = rows["cls.predictions.decoder.bias"]
    assert bias.aliases == bias.copies == ("cls.predictions.bias",)
    assert not rows["cls.predictions.decoder.weight"].transposed  # [V, D] on both sides


def test_only_a_tied_decoder_stands_for_the_word_embeddings():
    tied = BertConfig()
    assert encoder_rows(tied)[0].aliases == ("cls.predictions.decoder.weight",)
    assert encoder_rows(replace(tied, tie_word_embeddings=False))[0].aliases == ()


def test_layers_are_counted_and_there_may_be_none():
    one = encoder_rows(BertConfig(num_hidden_layers=1))
    assert len(encoder_rows(BertConfig(num_hidden_layers=12))) - len(one) == 11 * 16
    assert len(encoder_rows(BertConfig(num_hidden_layers=0))) == 5


def test_an_unknown_task_is_refused():
    with pytest.raises(ValueError, match="'summarization' is not one of feature-extraction"):
        head_rows(BertConfig(), "summarization")


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("bert.embeddings.LayerNorm.gamma", "bert.embeddings.LayerNorm.weight"),
        ("bert.embeddings.LayerNorm.beta", "bert.embeddings.LayerNorm.bias"),
        (
            "encoder.layer.3.output.LayerNorm.gamma",
            "bert.encoder.layer.3.output.LayerNorm.weight",
        ),
        ("embeddings.word_embeddings.weight", "bert.embeddings.word_embeddings.weight"),
        ("pooler.dense.bias", "bert.pooler.dense.bias"),
        ("classifier.weight", "classifier.weight"),
        (
            "cls.predictions.transform.LayerNorm.beta",
            "cls.predictions.transform.LayerNorm.bias",
        ),
        # An activation's own parameter is no norm's.
        (
            "encoder.layer.0.intermediate.intermediate_act_fn.beta",
            "bert.encoder.layer.0.intermediate.intermediate_act_fn.beta",
        ),
        ("my_embeddings.weight", "my_embeddings.weight"),
        ("bert.embeddings.position_ids_weight", "bert.embeddings.position_ids_weight"),
    ],
)
def test_canonical_names(name, canonical):
    assert list(canonical_names([name])) == [(canonical, name)]


@pytest.mark.parametrize("prefix", ["", "bert."])
@pytest.mark.parametrize("buffer", ["position_ids", "token_type_ids"])
def test_buffers_are_passed_over(prefix, buffer):
    assert list(canonical_names([f"{prefix}embeddings.{buffer}"])) == []
