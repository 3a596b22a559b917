"""Texts -> probabilities, from a run folder or any Hugging Face folder with a trained head."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict

import jax
import jax.numpy as jnp
import numpy as np

from bertjax.checkpoints.folder import Checkpoint, load
from bertjax.data.batches import packed_in_order, unpack
from bertjax.data.bulk import SLOTS, Group, plan_bulk
from bertjax.data.cleaning import clean_texts
from bertjax.data.ladder import LENGTHS, ladder_batches, ladder_lengths
from bertjax.data.tokens import Tokens, tokenize
from bertjax.errors import UserError
from bertjax.models.configs import BertConfig, Precision


class Prediction(TypedDict):
    """What is predicted of one text."""

    label: str  # the most probable class; of a multi-label model too
    score: float  # its probability
    probabilities: dict[str, float]  # of every class; a regression's values
    truncated: bool  # whether the text was longer than the model reads


class Predictions(NamedTuple):
    """What is predicted of N texts, as arrays."""

    probabilities: np.ndarray  # [N, C] float32
    truncated: np.ndarray  # [N] bool


class Predictor:
    """A text classifier that is ready to be called.

    Args:
        checkpoint: of the task text-classification; its `run` says how texts are prepared.

    Raises:
        UserError: the checkpoint has no trained head, or two classes of one name.
    """

    def __init__(self, checkpoint: Checkpoint):
        if checkpoint.task != "text-classification":
            raise UserError(
                f"{checkpoint.folder} was loaded for {checkpoint.task}, expected a checkpoint of "
                "the task text-classification"
            )
        if len(set(checkpoint.labels)) < len(checkpoint.labels):
            raise UserError(
                f"{checkpoint.folder} gives two classes one name ({', '.join(checkpoint.labels)}):"
                " name them apart in id2label of its config.json"
            )
        if checkpoint.report.missing or checkpoint.report.mismatched:
            raise UserError(
                f"{checkpoint.folder} has no trained head for {checkpoint.task} "
                f"({checkpoint.report}): fine-tune it first with `bertjax finetune`"
            )
        self.checkpoint = checkpoint
        self.run = checkpoint.run
        self._forward = _forward(checkpoint, self.run.temperature)

    @classmethod
    def load(cls, folder: str | Path, precision: Precision = "float32") -> "Predictor":
        """The predictor of a run folder, or of a checkpoint by any name that `load` takes.

        Raises:
            UserError: there is no such folder, or it is not a text classifier's.
        """
        return cls(load(folder, "text-classification", precision=precision))

    @property
    def labels(self) -> tuple[str, ...]:
        """The C classes, in the order of the columns of `probabilities`."""
        return self.checkpoint.labels

    @property
    def max_length(self) -> int:
        """The most tokens of a text that are read."""
        most = self.checkpoint.config.max_position_embeddings
        return min(self.run.max_length or most, most)

    def __call__(
        self, texts: Sequence[str], say: Callable[[str], None] | None = None
    ) -> list[Prediction]:
        """A prediction a text, in their order; `say` is told the plan of many texts."""
        result = self.predict(texts, say)
        return [
            {
                "label": self.labels[int(row.argmax())],
                "score": float(row.max()),
                "probabilities": dict(zip(self.labels, row.tolist(), strict=True)),
                "truncated": bool(truncated),
            }
            for row, truncated in zip(result.probabilities, result.truncated, strict=True)
        ]

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """[N, C] float32: softmax, sigmoid (multi-label), or the values of a regression."""
        return self.predict(texts).probabilities

    def predict(
        self, texts: Sequence[str], say: Callable[[str], None] | None = None
    ) -> Predictions:
        """The same as arrays, with the flags of the texts that were cut; `say` as above."""
        tokens = self._tokenize(texts)
        return Predictions(self._probabilities(tokens, say), tokens.truncated)

    def _tokenize(self, texts: Sequence[str]) -> Tokens:
        if isinstance(texts, str):
            raise UserError("give a list of texts, not one text: predictor([text])")
        texts = list(texts)
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise UserError(f"text {i} is {text!r}, expected a str: give missing text as ''")
        if self.run.clean:
            texts = clean_texts(texts)
        return tokenize(self.checkpoint.tokenizer, texts, self.max_length)

    def _probabilities(self, tokens: Tokens, say: Callable[[str], None] | None) -> np.ndarray:
        lengths = [len(ids) for ids in tokens.ids]
        if sum(lengths) < 2 * SLOTS:
            batches = self._padded(tokens)
        else:
            groups = plan_bulk(lengths, self.checkpoint.config.hidden_size)
            if say:
                for group in groups:
                    say(str(group.plan))
            batches = self._packed(tokens, groups)
        # All batches are dispatched before the first is waited for.
        dispatched = [(texts, self._forward(*inputs)) for texts, inputs in batches]
        result = np.zeros((len(tokens.ids), len(self.labels)), np.float32)
        for texts, values in dispatched:
            unpack(np.asarray(values), texts, result)
        return result

    def _padded(self, tokens: Tokens) -> Iterator[tuple[np.ndarray, tuple]]:
        """A text a row: (texts [B], -1 where there is none; what `_forward` takes)."""
        params, pad = self.checkpoint.params, self.checkpoint.config.pad_token_id or 0
        rungs = ladder_lengths(self.max_length, self.run.ladder or LENGTHS)
        for texts, batch in ladder_batches(tokens.ids, rungs, pad_token_id=pad):
            rows_of = np.full(len(batch["input_ids"]), -1)
            rows_of[: len(texts)] = texts
            yield rows_of, (params, batch["input_ids"], batch["attention_mask"], None)

    def _packed(self, tokens: Tokens, groups: list[Group]) -> Iterator[tuple[np.ndarray, tuple]]:
        """Several texts a row: (texts [R, S], -1 where there is none; what `_forward` takes)."""
        params, pad = self.checkpoint.params, self.checkpoint.config.pad_token_id or 0
        for group in groups:
            ids = [tokens.ids[text] for text in group.texts]
            for batch in packed_in_order(ids, None, group.plan, pad):
                texts = np.where(batch["rows_of"] >= 0, group.texts[batch["rows_of"]], -1)
                segments = batch["segment_ids"]
                inputs = (params, batch["input_ids"], segments, group.plan.max_segments)
                yield texts, inputs


def _forward(checkpoint: Checkpoint, temperature: float):
    def forward(
        params, input_ids: jax.Array, segment_ids: jax.Array, max_segments: int | None
    ) -> jax.Array:
        """Two int [B, T] -> [B, C]; rows of up to S = `max_segments` packed texts -> [B, S, C]."""
        packed = max_segments is not None
        output = checkpoint.model.apply(
            params,
            None,
            input_ids,
            attention_mask=None if packed else segment_ids,
            segment_ids=segment_ids if packed else None,
            max_segments=max_segments,
        )
        return to_probabilities(output.logits / temperature, checkpoint.config)

    return jax.jit(forward, static_argnums=3)


def to_probabilities(logits: jax.Array, config: BertConfig) -> jax.Array:
    """What the logits [..., C] of a text classifier mean, by its problem type."""
    match config.resolved_problem_type:
        case "multi_label_classification":
            return jax.nn.sigmoid(logits)
        case "regression":
            return logits
        case _:
            return jax.nn.softmax(logits.astype(jnp.float32), axis=-1)
