"""Settings of a training; light to import, since the command line is made from them."""

from dataclasses import dataclass
from typing import Literal

Parallel = Literal["jit", "pmap", "mesh"]


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW and its schedule, with defaults for fine-tuning a small BERT."""

    learning_rate: float = 2e-4
    """At its highest."""
    warmup: float = 0.1
    """Share of the steps in which the learning rate rises from 0."""
    decay: Literal["linear", "cosine"] = "linear"
    """How the learning rate then falls to 0."""
    weight_decay: float = 0.01
    """Of matrices and embeddings; biases and norms are not decayed."""
    clip_norm: float = 1.0
    """Largest norm of the gradient; 0: no limit."""
    b1: float = 0.9
    """Decay of AdamW's mean of gradients."""
    b2: float = 0.999
    """Decay of AdamW's mean of squared gradients."""
    eps: float = 1e-8
    """Added to AdamW's denominator."""
