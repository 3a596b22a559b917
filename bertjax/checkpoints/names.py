"""The table of names: a tensor of a Hugging Face checkpoint <-> a parameter of the Haiku model.

One list of rows, read in both directions, with the shape of each tensor.
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
    shape: tuple[int, ...]  # in the checkpoint
    module: str  # of Haiku
    param: str  # in the module
    transposed: bool = False  # torch keeps the weight of a dense layer as [out, in]
    aliases: tuple[str, ...] = ()  # other names under which checkpoints hold the same tensor
    copies: tuple[str, ...] = ()  # other names under which it is written as well


def _dense(name: str, module: str, outputs: int, inputs: int) -> list[Row]:
    return [
        Row(f"{name}.weight", (outputs, inputs), module, "w", True),
        Row(f"{name}.bias", (outputs,), module, "b"),
    ]


def _norm(name: str, module: str, width: int) -> list[Row]:
    return [
        Row(f"{name}.weight", (width,), module, "scale"),
        Row(f"{name}.bias", (width,), module, "offset"),
    ]


def _activation(hidden_act: str, name: str, module: str) -> list[Row]:
    """The parameters that two of the activations own."""
    owned = {
        "prelu": {"weight": (1,)},
        "xielu": {"alpha_p": (1,), "alpha_n": (1,), "beta": (), "eps": ()},
    }
    params = owned.get(hidden_act, {})
    return [Row(f"{name}.{param}", shape, module, param) for param, shape in params.items()]


def _embeddings(config: BertConfig) -> list[Row]:
    name, module, width = "bert.embeddings", "bert/embeddings", config.hidden_size
    sizes = {
        "word_embeddings": config.vocab_size,
        "position_embeddings": config.max_position_embeddings,
        "token_type_embeddings": config.type_vocab_size,
    }
    words, *others = (
        Row(f"{name}.{kind}.weight", (size, width), f"{module}/{kind}", "embeddings")
        for kind, size in sizes.items()
    )
    if config.tie_word_embeddings:
        words = replace(words, aliases=("cls.predictions.decoder.weight",))
    return [words, *others, *_norm(f"{name}.LayerNorm", f"{module}/layer_norm", width)]


def _layer(config: BertConfig, i: int) -> list[Row]:
    name, module = f"bert.encoder.layer.{i}", f"bert/layer_{i}"
    width, inner = config.hidden_size, config.intermediate_size
    attention, attention_module = f"{name}.attention", f"{module}/attention"
    return [
        *_dense(f"{attention}.self.query", f"{attention_module}/query", width, width),
        *_dense(f"{attention}.self.key", f"{attention_module}/key", width, width),
        *_dense(f"{attention}.self.value", f"{attention_module}/value", width, width),
        *_dense(f"{attention}.output.dense", f"{attention_module}/output", width, width),
        *_norm(f"{attention}.output.LayerNorm", f"{module}/attention_norm", width),
        *_dense(f"{name}.intermediate.dense", f"{module}/intermediate", inner, width),
        *_dense(f"{name}.output.dense", f"{module}/output", width, inner),
        *_norm(f"{name}.output.LayerNorm", f"{module}/output_norm", width),
        *_activation(
            config.hidden_act,
            f"{name}.intermediate.intermediate_act_fn",
            f"{module}/activation",
        ),
    ]


def _pooler(config: BertConfig) -> list[Row]:
    return _dense("bert.pooler.dense", "pooler", config.hidden_size, config.hidden_size)


def _seq_relationship(config: BertConfig) -> list[Row]:
    return _dense("cls.seq_relationship", "seq_relationship", 2, config.hidden_size)


def _classifier(config: BertConfig, outputs: int) -> list[Row]:
    return _dense("classifier", "classifier", outputs, config.hidden_size)


def _masked_lm(config: BertConfig) -> list[Row]:
    name, width, words = "cls.predictions", config.hidden_size, config.vocab_size
    rows = [
        *_dense(f"{name}.transform.dense", "transform", width, width),
        *_norm(f"{name}.transform.LayerNorm", "transform_norm", width),
        *_activation(config.hidden_act, f"{name}.transform.transform_act_fn", "activation"),
    ]
    bias, decoder_bias = f"{name}.bias", f"{name}.decoder.bias"
    if config.tie_word_embeddings:
        return [*rows, Row(bias, (words,), "~", "decoder_bias", aliases=(decoder_bias,))]
    # transformers adds the decoder's own bias when nothing is tied; the other is never used.
    return [
        *rows,
        Row(f"{name}.decoder.weight", (words, width), "~", "decoder"),
        Row(decoder_bias, (words,), "~", "decoder_bias", aliases=(bias,), copies=(bias,)),
    ]


def encoder_rows(config: BertConfig) -> list[Row]:
    """The rows of the embeddings and of every layer."""
    layers = (row for i in range(config.num_hidden_layers) for row in _layer(config, i))
    return [*_embeddings(config), *layers]


def head_rows(config: BertConfig, task: str, has_pooler: bool = True) -> list[Row]:
    """The rows of what a task adds to the encoder."""
    match task:
        case "feature-extraction":
            return _pooler(config) if has_pooler else []
        case "fill-mask":
            return _masked_lm(config)
        case "next-sentence-prediction":
            return [*_pooler(config), *_seq_relationship(config)]
        case "pretraining":
            return [*_masked_lm(config), *_pooler(config), *_seq_relationship(config)]
        case "text-classification":
            return [*_pooler(config), *_classifier(config, config.num_labels)]
        case "multiple-choice":
            return [*_pooler(config), *_classifier(config, 1)]
        case "token-classification":
            return _classifier(config, config.num_labels)
        case "question-answering":
            return _dense("qa_outputs", "qa_outputs", 2, config.hidden_size)
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
