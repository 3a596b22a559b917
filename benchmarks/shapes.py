"""The models and batches whose speed is measured, and the arithmetic that they take."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from bertjax.errors import UserError


@dataclass(frozen=True)
class Size:
    """The sizes of a BERT, under the names of its config."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    vocab_size: int = 30522

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Size":
        """The sizes in a `config.json`."""
        return cls(**{field.name: config[field.name] for field in fields(cls)})

    def forward_flops(self, lengths: Iterable[int], first_only: bool = False) -> float:
        """Multiplications and additions of the products in the layers, forward.

        Of texts of so many tokens, each by itself. Embeddings, norms and heads are left out. A
        training step takes three times as many.

        `first_only`: the last layer computes the first token of each text alone, from the keys and
        values of all.
        """
        width, layers = self.hidden_size, self.num_hidden_layers
        keys = 2 * width**2  # of a layer, for a token, with its value
        others = 2 * width**2 + 2 * width * self.intermediate_size
        products = 0
        for length in lengths:
            # Attention: the scores of a token, and the sum over values.
            token = others + 2 * length * width
            last = length * keys + (1 if first_only else length) * token
            products += (layers - 1) * length * (keys + token) + last
        return 2.0 * products


SIZES = {
    "tiny": Size(32, 2, 2, 64, 100),
    "minilm": Size(384, 6, 12, 1536),
    "base": Size(768, 12, 12, 3072),
    "large": Size(1024, 24, 16, 4096),
}


LONGEST = 512  # positions of all of them


@dataclass(frozen=True)
class Shape:
    """A batch of texts that are all of one length, for a BERT of one size."""

    model: str  # of SIZES
    texts: int
    length: int  # tokens a text

    def __str__(self) -> str:
        return f"{self.model}-{self.texts}x{self.length}"

    @classmethod
    def parse(cls, name: str) -> "Shape":
        """The shape of a name such as `base-8x128`. UserError: it is not one."""
        model, _, batch = name.partition("-")
        texts, _, length = batch.partition("x")
        if model not in SIZES or not (texts.isdecimal() and length.isdecimal()):
            raise UserError(
                f"{name!r} is no shape: write MODEL-TEXTSxTOKENS, such as base-8x128, with a model "
                f"of {', '.join(SIZES)}"
            )
        shape = cls(model, int(texts), int(length))
        if not shape.texts or not 1 <= shape.length <= LONGEST:
            raise UserError(f"{name!r} is no shape: write 1 text or more, of 1 to {LONGEST} tokens")
        return shape

    def settings(self) -> dict[str, Any]:
        """For a child: the sizes, and the batch."""
        return {"sizes": asdict(SIZES[self.model]), "texts": self.texts, "length": self.length}

    def forward_flops(self, first_only: bool = False) -> float:
        """See `Size.forward_flops`."""
        return SIZES[self.model].forward_flops([self.length] * self.texts, first_only)
