"""What logits mean: probabilities, and the label that is answered."""

from collections.abc import Sequence

import numpy as np

from bertjax.data.tokens import Pieces
from bertjax.models.configs import BertConfig

OTHER = "other"  # a class of this name is what a text is of which nothing else is probable
UNCERTAIN = "uncertain"


def to_probabilities(logits: np.ndarray, config: BertConfig) -> np.ndarray:
    """What the logits [N, C] float32 of a text classifier mean, by its problem type."""
    match config.resolved_problem_type:
        case "multi_label_classification":
            return np.exp(-np.logaddexp(np.float32(0), -logits))
        case "regression":
            return logits
        case _:
            powers = np.exp(logits - logits.max(axis=-1, keepdims=True, initial=-np.inf))
            return powers / powers.sum(axis=-1, keepdims=True)


def fallback_label(labels: Sequence[str]) -> str:
    """The answer where no class is probable enough."""
    return OTHER if OTHER in labels else UNCERTAIN


def mean_of_pieces(values: np.ndarray, pieces: Pieces) -> np.ndarray:
    """[N, ...] of the texts from [P, ...] of their pieces; those of one piece keep their bits."""
    texts = len(pieces.truncated)
    if len(values) == texts:
        return values
    sums = np.zeros((texts, *values.shape[1:]), np.float32)
    np.add.at(sums, pieces.text_of, values)
    counts = np.bincount(pieces.text_of, minlength=texts).astype(np.float32)
    return sums / counts.reshape(-1, *[1] * (values.ndim - 1))
