"""Settings of a training; light to import, since the command line is made from them."""

from dataclasses import dataclass
from typing import Literal

from bertjax.errors import UserError

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


@dataclass(frozen=True)
class MeshShape:
    """Devices along the two axes of a mesh; None: as many as the other leaves."""

    data: int | None = None
    """Each with all parameters."""
    fsdp: int | None = None
    """That share the parameters of one; also None if `data` is: 1."""

    @classmethod
    def parse(cls, text: str) -> "MeshShape":
        """`data=4,fsdp=2`, or one of the two, or nothing.

        Raises:
            UserError: it is something else.
        """
        sizes: dict[str, int] = {}
        for part in filter(None, text.split(",")):
            name, _, size = part.strip().partition("=")
            example = "give numbers of devices, as in data=4,fsdp=2"
            if name not in ("data", "fsdp"):
                raise UserError(f"--mesh has the axes data and fsdp, not {name!r}: {example}")
            if name in sizes:
                raise UserError(f"--mesh {text} gives {name} twice: {example}")
            if not size.isdecimal() or int(size) < 1:
                raise UserError(f"--mesh {name} is {size!r}, not a number from 1: {example}")
            sizes[name] = int(size)
        return cls(**sizes)

    def over(self, devices: int) -> tuple[int, int]:
        """The lengths of the axes, whose product is `devices`.

        Raises:
            UserError: there are no such lengths.
        """
        known = (self.data or 1) * (self.fsdp or 1)
        both = self.data is not None and self.fsdp is not None
        if devices % known or (both and known != devices):
            needed = known if both else f"a multiple of {known}"
            raise UserError(f"--mesh needs {needed} devices, found {devices}")
        if self.data is None:
            return devices // known, self.fsdp or 1
        return self.data, devices // self.data
