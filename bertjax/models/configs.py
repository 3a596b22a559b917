"""The configuration of a BERT, read from and written to Hugging Face's `config.json`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from bertjax.errors import UserError

TASKS = (
    "feature-extraction",
    "fill-mask",
    "next-sentence-prediction",
    "pretraining",
    "text-classification",
    "token-classification",
    "question-answering",
    "multiple-choice",
)
PROBLEM_TYPES = (
    "single_label_classification",
    "multi_label_classification",
    "regression",
)

Precision = Literal["float32", "bfloat16", "auto"]  # of matrix products
PRECISIONS: tuple[str, ...] = get_args(Precision)

# Fields that change the numbers in a way that this library does not compute, with the values
# that change nothing. Ignoring one of them would give wrong numbers in silence.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "model_type": ("bert",),
    "position_embedding_type": ("absolute", None),
    "is_decoder": (False, None),
    "add_cross_attention": (False, None),
    "pruned_heads": ({}, None),
    "quantization_config": (None,),
}
# Fields that are derived from others here, so that they cannot contradict them.
_DERIVED = ("label2id", "num_labels", *_NEUTRAL)


@dataclass(frozen=True)
class BertConfig:
    """The sizes and constants of a BERT (Devlin et al. 2018, §3), named as transformers does."""

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    classifier_dropout: float | None = None  # None: hidden_dropout_prob
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    initializer_range: float = 0.02  # standard deviation of a new weight
    pad_token_id: int | None = 0
    tie_word_embeddings: bool = True  # the masked-LM decoder is the word embedding
    problem_type: str | None = None  # of text classification; None: by the number of labels
    id2label: tuple[str, ...] = ("LABEL_0", "LABEL_1")  # entry i names class i
    # Fields that change no number (versions, origin): kept so that a save loses nothing.
    other: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        self._check_values()
        if self.hidden_size % self.num_attention_heads:
            raise UserError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads "
                f"{self.num_attention_heads}: the config does not describe a BERT"
            )
        from bertjax.models.activations import ACTIVATIONS  # imports jax: not at the top

        if self.hidden_act not in ACTIVATIONS:
            raise UserError(
                f"hidden_act {self.hidden_act!r} is not one of {', '.join(sorted(ACTIVATIONS))}"
            )
        if self.problem_type not in (None, *PROBLEM_TYPES):
            raise UserError(
                f"problem_type {self.problem_type!r} is not one of {', '.join(PROBLEM_TYPES)}"
            )

    def _check_values(self) -> None:
        """Refuse a field of a wrong type, a size below 1 and a rate outside of 0 to 1."""
        for entry in fields(self):
            value, kind = getattr(self, entry.name), entry.type
            if entry.name in ("id2label", "other"):
                continue
            if kind in (float, float | None):
                kind = kind | int
            if not isinstance(value, kind):  # pyright: ignore[reportArgumentType]
                expected = getattr(entry.type, "__name__", str(entry.type))
                raise UserError(f"config field {entry.name} is {value!r}, expected {expected}")
            least = 0 if entry.name == "num_hidden_layers" else 1
            if entry.type is int and value < least:
                raise UserError(f"config field {entry.name} is {value}, expected at least {least}")
            if "dropout" in entry.name and value is not None and not 0 <= value <= 1:
                raise UserError(f"config field {entry.name} is {value}, expected 0 to 1")

    @property
    def num_labels(self) -> int:
        return len(self.id2label)

    @property
    def padding_id(self) -> int:
        """What fills the slots without a token: 0 if the config names none."""
        return self.pad_token_id or 0

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    def largest_activation(self, rows: int, tokens: int) -> int:
        """Bytes of a layer's largest activation, float32, for rows of so many tokens.

        Heads are not counted, such as logits of all words.
        """
        scores = self.num_attention_heads * tokens
        return 4 * rows * tokens * max(self.intermediate_size, scores)

    @property
    def head_dropout(self) -> float:
        """Dropout rate in front of a classifier."""
        if self.classifier_dropout is None:
            return self.hidden_dropout_prob
        return self.classifier_dropout

    @property
    def resolved_problem_type(self) -> str:
        """`problem_type`, or what transformers takes for it: one label is a regression."""
        if self.problem_type is not None:
            return self.problem_type
        return "regression" if self.num_labels == 1 else "single_label_classification"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "BertConfig":
        """The config that the entries of a `config.json` describe.

        Raises:
            UserError: a field changes the numbers and is not supported, or has a wrong type.
        """
        for name, neutral in _NEUTRAL.items():
            if name in values and values[name] not in neutral:
                raise UserError(
                    f"config field {name} is {values[name]!r}, but only {neutral[0]!r} is "
                    "supported: this checkpoint would give other numbers here"
                )
        known = {f.name for f in fields(cls)} - {"id2label", "other"}
        taken = {name: values[name] for name in known if name in values}
        labels = _labels(values)
        if labels is not None:
            taken["id2label"] = labels
        rest = {
            name: value
            for name, value in values.items()
            if name not in taken and name not in _DERIVED
        }
        return cls(**taken, other=rest)

    def to_dict(self) -> dict[str, Any]:
        """The entries of a `config.json` that transformers reads as the same model."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "other"}
        values["id2label"] = {str(i): label for i, label in enumerate(self.id2label)}
        values["label2id"] = {label: i for i, label in enumerate(self.id2label)}
        return {**self.other, "model_type": "bert", **values}


def _labels(values: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Labels by class index, from `id2label` or a bare `num_labels`."""
    id2label = values.get("id2label")
    if id2label:
        try:
            by_index = {int(i): str(label) for i, label in id2label.items()}
        except (AttributeError, TypeError, ValueError):
            raise UserError(
                f"config field id2label is {id2label!r}, expected the name of each class by its "
                "index, such as {'0': 'no', '1': 'yes'}"
            ) from None
        if sorted(by_index) != list(range(len(by_index))):
            raise UserError(
                f"config field id2label has the indices {sorted(by_index)}, expected "
                f"0 to {len(by_index) - 1} without a gap"
            )
        return tuple(by_index[i] for i in range(len(by_index)))
    if "num_labels" in values:
        if not isinstance(values["num_labels"], int):
            raise UserError(f"config field num_labels is {values['num_labels']!r}, expected int")
        return tuple(f"LABEL_{i}" for i in range(values["num_labels"]))
    return None
