"""Texts -> predictions, from a run folder or any Hugging Face folder with a trained head."""

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Literal, NamedTuple, TypedDict

import jax
import numpy as np

from bertjax.checkpoints.folder import Checkpoint, load
from bertjax.data.bulk import SLOTS, plan_bulk
from bertjax.data.cleaning import clean_texts
from bertjax.data.ladder import LENGTHS
from bertjax.data.shapes import SEGMENTS, fixed_shapes
from bertjax.data.tokens import Pieces, tokenize
from bertjax.errors import UserError
from bertjax.models.compiler import compiler_options
from bertjax.models.configs import Precision
from bertjax.models.pooling import SentencePooling
from bertjax.models.precision import round_weights
from bertjax.serving.answers import fallback_label, mean_of_pieces, to_probabilities
from bertjax.serving.packed import compute_packed
from bertjax.serving.programs import Programs

LongTexts = Literal["truncate", "windows"]

BATCH_SLOTS = {"cpu": 1024}  # R x T of a call of few texts: from here on a token costs the same
ACCELERATOR_SLOTS = 8192
MEAN = SentencePooling("mean", normalize=False)  # the length is made 1 after windows are averaged


class Prediction(TypedDict):
    """What is predicted of one text."""

    prediction: str  # `label`, or the fallback label where `score` is under the threshold
    label: str  # the most probable class; of a multi-label model too
    score: float  # its probability
    probabilities: dict[str, float]  # of every class; a regression's values
    truncated: bool  # whether the text was longer than what was read of it
    windows: int  # pieces of the text, of which the logits were averaged


class Predictions(NamedTuple):
    """What is predicted of N texts, as arrays."""

    probabilities: np.ndarray  # [N, C] float32
    truncated: np.ndarray  # [N] bool


class Predictor:
    """A text classifier that is ready to be called.

    Args:
        checkpoint: of the task text-classification; its `run` says how texts are prepared.
        threshold: a probability under it is no answer; by default the run's, if it has one.
        long_texts: what becomes of texts longer than the model reads. truncate: the rest is not
            read; windows: they are read in pieces, a quarter of which also stands in the piece
            before, and the logits of the pieces are averaged.

    Raises:
        UserError: the checkpoint has no trained head, or two classes of one name; the threshold is
            no probability.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        threshold: float | None = None,
        long_texts: LongTexts = "truncate",
    ):
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
        if threshold is not None and not 0 <= threshold <= 1:
            raise UserError(f"the threshold is {threshold}, but must be from 0 to 1")
        self.checkpoint = checkpoint
        self.run = checkpoint.run
        self.threshold = self.run.threshold if threshold is None else threshold
        self.long_texts = long_texts
        self.slots = BATCH_SLOTS.get(jax.default_backend(), ACCELERATOR_SLOTS)
        self._params = round_weights(checkpoint.params, checkpoint.precision)
        self._bulk = _bulk(checkpoint)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        precision: Precision = "float32",
        threshold: float | None = None,
        long_texts: LongTexts = "truncate",
    ) -> "Predictor":
        """The predictor of a run folder, or of a checkpoint by any name that `load` takes.

        Raises:
            UserError: there is no such folder, or it is not a text classifier's.
        """
        return cls(load(folder, "text-classification", precision=precision), threshold, long_texts)

    @property
    def labels(self) -> tuple[str, ...]:
        """The C classes, in the order of the columns of `probabilities`."""
        return self.checkpoint.labels

    @property
    def max_length(self) -> int:
        """The most tokens of a text that are read."""
        most = self.checkpoint.config.max_position_embeddings
        return min(self.run.max_length or most, most)

    @property
    def fallback(self) -> str:
        """The prediction of a text of which no class is probable enough."""
        return fallback_label(self.labels)

    def __call__(
        self, texts: Sequence[str], say: Callable[[str], None] | None = None
    ) -> list[Prediction]:
        """A prediction a text, in their order; `say` is told the plan of many texts."""
        pieces = self.tokenize(texts)
        return self.predictions(pieces, self.logits(pieces, say))

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """[N, C] float32: softmax, sigmoid (multi-label), or the values of a regression."""
        return self.predict(texts).probabilities

    def predict(
        self, texts: Sequence[str], say: Callable[[str], None] | None = None
    ) -> Predictions:
        """The same as arrays, with the flags of the texts that were cut; `say` as above."""
        pieces = self.tokenize(texts)
        return Predictions(
            self.probabilities_of(pieces, self.logits(pieces, say)), pieces.truncated
        )

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """[N, D] float32: the mean of a text's tokens in the last layer, of length 1."""
        pieces = self.tokenize(texts)
        if not pieces.ids:
            return np.zeros((0, self.checkpoint.config.hidden_size), np.float32)
        return self.embeddings(pieces, self.embedder(pieces.ids))

    # What a server takes apart: `classifier` and `embedder` alone compute.

    def tokenize(self, texts: Sequence[str]) -> Pieces:
        """The token ids of texts, each in one piece or in several.

        Raises:
            UserError: `texts` is one text, or a text is no str.
        """
        if isinstance(texts, str):
            raise UserError("give a list of texts, not one text: predictor([text])")
        texts = list(texts)
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise UserError(f"text {i} is {text!r}, expected a str: give missing text as ''")
        if self.run.clean:
            texts = clean_texts(texts)
        windows = self.long_texts == "windows"
        return tokenize(self.checkpoint.tokenizer, texts, self.max_length, windows)

    @cached_property
    def classifier(self) -> Programs:
        """Token ids of pieces -> logits [P, C], in a few shapes that can be compiled before."""
        model = self.checkpoint.model

        def logits(params, input_ids: jax.Array, segment_ids: jax.Array) -> jax.Array:
            output = model.apply(
                params, None, input_ids, segment_ids=segment_ids, max_segments=SEGMENTS
            )
            return output.logits

        return self._programs(logits)

    @cached_property
    def embedder(self) -> Programs:
        """Token ids of pieces -> their mean tokens in the last layer [P, D], as `classifier`."""
        model = self.checkpoint.model

        def embeddings(params, input_ids: jax.Array, segment_ids: jax.Array) -> jax.Array:
            output = model.apply(
                params,
                None,
                input_ids,
                segment_ids=segment_ids,
                max_segments=SEGMENTS,
                output_hidden_states=True,
            )
            return MEAN(output.hidden_states[-1], segment_ids, SEGMENTS)

        return self._programs(embeddings)

    def predictions(self, pieces: Pieces, logits: np.ndarray) -> list[Prediction]:
        """What the logits [P, C] of the pieces of N texts mean for each text."""
        probabilities = self.probabilities_of(pieces, logits)
        windows = np.bincount(pieces.text_of, minlength=len(pieces.truncated))
        return [
            self._prediction(row, bool(truncated), count)
            for row, truncated, count in zip(
                probabilities, pieces.truncated, windows.tolist(), strict=True
            )
        ]

    def probabilities_of(self, pieces: Pieces, logits: np.ndarray) -> np.ndarray:
        """[N, C] of the texts, from the logits [P, C] of their pieces."""
        scaled = mean_of_pieces(logits, pieces) / np.float32(self.run.temperature)
        return to_probabilities(scaled, self.checkpoint.config)

    def embeddings(self, pieces: Pieces, values: np.ndarray) -> np.ndarray:
        """[N, D] of length 1, of the texts, from the mean tokens [P, D] of their pieces."""
        means = mean_of_pieces(values, pieces)
        lengths = np.linalg.norm(means, axis=1, keepdims=True)
        return means / np.maximum(lengths, 1e-12)

    def logits(self, pieces: Pieces, say: Callable[[str], None] | None = None) -> np.ndarray:
        """[P, C] of the pieces; many are packed into rows of shapes that are chosen for them."""
        lengths = [len(ids) for ids in pieces.ids]
        if not lengths:
            return np.zeros((0, len(self.labels)), np.float32)
        slots = max(SLOTS, self.slots)  # an accelerator wants as many as in a call of few texts
        if sum(lengths) < 2 * slots:
            return self.classifier(pieces.ids)
        groups = plan_bulk(lengths, self.checkpoint.config.hidden_size, slots)
        if say:
            for group in groups:
                say(str(group.plan))
        program = partial(self._bulk, self._params)
        pad = self.checkpoint.config.padding_id
        return compute_packed(program, pieces.ids, groups, len(self.labels), pad)

    def _programs(self, function) -> Programs:
        config = self.checkpoint.config
        shapes = fixed_shapes(self.run.ladder or LENGTHS, self.max_length, self.slots)
        pad = config.padding_id
        return Programs(function, self._params, shapes, config.hidden_size, pad)

    def _prediction(self, row: np.ndarray, truncated: bool, windows: int) -> Prediction:
        label, score = self.labels[int(row.argmax())], float(row.max())
        regression = self.checkpoint.config.resolved_problem_type == "regression"
        unsure = self.threshold is not None and not regression and score < self.threshold
        return {
            "prediction": self.fallback if unsure else label,
            "label": label,
            "score": score,
            "probabilities": dict(zip(self.labels, row.tolist(), strict=True)),
            "truncated": truncated,
            "windows": windows,
        }


def _bulk(checkpoint: Checkpoint):
    def logits(
        params, input_ids: jax.Array, segment_ids: jax.Array, max_segments: int
    ) -> jax.Array:
        """Two int [R, T] -> [R, S, C], of rows of up to S = `max_segments` packed texts."""
        output = checkpoint.model.apply(
            params, None, input_ids, segment_ids=segment_ids, max_segments=max_segments
        )
        return output.logits

    return jax.jit(logits, static_argnums=3, compiler_options=compiler_options())
