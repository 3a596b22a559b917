"""Texts of several tables in one seeded order, as many as are asked for."""

from collections.abc import Sequence

import numpy as np

from bertjax.data.sources import read_frame, text_of
from bertjax.errors import UserError


def mixed_texts(data: Sequence[str], columns: Sequence[str], count: int, seed: int) -> list[str]:
    """`count` texts from all tables, shuffled together; repeated in that order where they are few.

    Args:
        data: tables by any name that `read_frame` takes.
        columns: of each table, those that it has, joined by a space, are a text.

    Raises:
        UserError: a table cannot be read, or has none of the columns.
    """
    if not data:
        raise UserError("there is no table of texts: name at least one after --data")
    texts = [text for name in data for text in _texts(name, columns)]
    order = np.random.default_rng(seed).permutation(len(texts))
    return [texts[i] for i in np.resize(order, count)]


def _texts(name: str, columns: Sequence[str]) -> list[str]:
    frame = read_frame(name)
    own = [column for column in columns if column in frame.columns]
    if not own:
        raise UserError(
            f"{name} has none of the text columns {', '.join(columns)}: its columns are "
            f"{', '.join(map(str, frame.columns))}; name those that hold text after --text"
        )
    return text_of(frame, own, name)
