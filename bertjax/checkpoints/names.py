"""The table of names: a tensor of a Hugging Face checkpoint <-> a parameter of the Haiku model.

One list of rows, read in both directions. `{i}` stands for the number of a layer.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from bertjax.models.configs import BertConfig

# The class of transformers that computes a task, as `architectures` in config.json names it.
ARCHITECTURES = {
    "feature-extraction": "BertModel",
    "fill-mask": "BertForMaskedLM",
    "next-sentence-prediction": "BertForNextSentencePrediction",
    "pretraining": "BertForPreTraining",
    "text-classification": "BertForSequenceClassification",
    "token-classification": "BertForTokenClassification",
    "question-answering": "BertForQuestionAnswering",
    "multiple-choice": "BertForMultipleChoice",
}


@dataclass(frozen=True)
class Row:
    """One tensor under both its names."""

    name: str  # in the checkpoint
    module: str  # of Haiku
    param: str  # in the module
    transposed: bool = False  # torch keeps the weight of a dense layer as [out, in]
    aliases: tuple[str, ...] = ()  # other names under which checkpoints hold the same tensor
    copies: tuple[str, ...] = ()  # other names under which it is written as well


def _dense(name: str, module: str) -> list[Row]:
    return [Row(f"{name}.weight", module, "w", True), Row(f"{name}.bias", module, "b")]


def _norm(name: str, module: str) -> list[Row]:
    return [Row(f"{name}.weight", module, "scale"), Row(f"{name}.bias", module, "offset")]


def _activation(hidden_act: str, name: str, module: str) -> list[Row]:
    """The parameters that two of the activations own."""
    owned = {"prelu": ["weight"], "xielu": ["alpha_p", "alpha_n", "beta", "eps"]}
    return [Row(f"{name}.{param}", module, param) for param in owned.get(hidden_act, [])]


_EMBEDDINGS = [
    *(
        Row(f"bert.embeddings.{kind}.weight", f"bert/embeddings/{kind}", "embeddings")
        for kind in ("word_embeddings", "position_embeddings", "token_type_embeddings")
    ),
    *_norm("bert.embeddings.LayerNorm", "bert/embeddings/layer_norm"),
]

_LAYER = [
    *_dense("bert.encoder.layer.{i}.attention.self.query", "bert/layer_{i}/attention/query"),
    *_dense("bert.encoder.layer.{i}.attention.self.key", "bert/layer_{i}/attention/key"),
    *_dense("bert.encoder.layer.{i}.attention.self.value", "bert/layer_{i}/attention/value"),
    *_dense("bert.encoder.layer.{i}.attention.output.dense", "bert/layer_{i}/attention/output"),
    *_norm("bert.encoder.layer.{i}.attention.output.LayerNorm", "bert/layer_{i}/attention_norm"),
    *_dense("bert.encoder.layer.{i}.intermediate.dense", "bert/layer_{i}/intermediate"),
    *_dense("bert.encoder.layer.{i}.output.dense", "bert/layer_{i}/output"),
    *_norm("bert.encoder.layer.{i}.output.LayerNorm", "bert/layer_{i}/output_norm"),
]

_POOLER = _dense("bert.pooler.dense", "pooler")
_SEQ_RELATIONSHIP = _dense("cls.seq_relationship", "seq_relationship")
_CLASSIFIER = _dense("classifier", "classifier")


def _masked_lm(config: BertConfig) -> list[Row]:
    rows = [
        *_dense("cls.predictions.transform.dense", "transform"),
        *_norm("cls.predictions.transform.LayerNorm", "transform_norm"),
        *_activation(config.hidden_act, "cls.predictions.transform.transform_act_fn", "activation"),
    ]
    bias, decoder_bias = "cls.predictions.bias", "cls.predictions.decoder.bias"
    if config.tie_word_embeddings:
        return [*rows, Row(bias, "~", "decoder_bias", aliases=(decoder_bias,))]
    # transformers adds the decoder's own bias when nothing is tied; the other is never used.
    return [
        *rows,
        Row("cls.predictions.decoder.weight", "~", "decoder"),
        Row(decoder_bias, "~", "decoder_bias", aliases=(bias,), copies=(bias,)),
    ]


def encoder_rows(config: BertConfig) -> list[Row]:
    """The rows of the embeddings and of every layer."""
    embeddings = list(_EMBEDDINGS)
    if config.tie_word_embeddings:
        embeddings[0] = replace(embeddings[0], aliases=("cls.predictions.decoder.weight",))
    layer = [
        *_LAYER,
        *_activation(
            config.hidden_act,
            "bert.encoder.layer.{i}.intermediate.intermediate_act_fn",
            "bert/layer_{i}/activation",
        ),
    ]
    numbered = [
        replace(row, name=row.name.format(i=i), module=row.module.format(i=i))
        for i in range(config.num_hidden_layers)
        for row in layer
    ]
    return [*embeddings, *numbered]


def head_rows(config: BertConfig, task: str, has_pooler: bool = True) -> list[Row]:
    """The rows of what a task adds to the encoder."""
    match task:
        case "feature-extraction":
            return list(_POOLER) if has_pooler else []
        case "fill-mask":
            return _masked_lm(config)
        case "next-sentence-prediction":
            return [*_POOLER, *_SEQ_RELATIONSHIP]
        case "pretraining":
            return [*_masked_lm(config), *_POOLER, *_SEQ_RELATIONSHIP]
        case "text-classification" | "multiple-choice":
            return [*_POOLER, *_CLASSIFIER]
        case "token-classification":
            return list(_CLASSIFIER)
        case "question-answering":
            return _dense("qa_outputs", "qa_outputs")
    raise ValueError(f"task {task!r} is not one of {', '.join(ARCHITECTURES)}")


# What other heads of a BERT own. A checkpoint may carry them beside those of the task at hand.
_HEAD_NAME = re.compile(r"bert\.pooler\.|cls\.|classifier\.|qa_outputs\.")
# Buffers that old checkpoints hold; they follow from the config.
_BUFFER_NAME = re.compile(r"bert\.embeddings\.(position_ids|token_type_ids)$")
_BARE_NAME = re.compile(r"(embeddings|encoder|pooler)\.")


def is_head(name: str) -> bool:
    """Whether a canonical name belongs to a head or the pooler and not to the encoder."""
    return _HEAD_NAME.match(name) is not None


def canonical_names(names: list[str]) -> Iterator[tuple[str, str]]:
    """Pairs (canonical name, name in the file), without the buffers.

    Old checkpoints call the weight and bias of a norm `gamma` and `beta`, and a checkpoint of the
    bare encoder has no `bert.` in front.
    """
    for name in names:
        canonical = re.sub(r"(LayerNorm)\.gamma$", r"\1.weight", name)
        canonical = re.sub(r"(LayerNorm)\.beta$", r"\1.bias", canonical)
        if _BARE_NAME.match(canonical):
            canonical = f"bert.{canonical}"
        if not _BUFFER_NAME.match(canonical):
            yield canonical, name
