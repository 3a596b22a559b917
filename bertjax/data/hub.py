"""A dataset of the Hugging Face Hub -> a DataFrame: from the local cache, else downloaded."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bertjax.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

_REACH_TIMEOUT = 3.0  # seconds; `datasets` itself would try an unreachable Hub for 23


def read_hub_dataset(name: str, split: str) -> "pd.DataFrame":
    """One split of the Hub dataset `name`; class labels become their names, -1 is missing.

    Raises:
      UserError: it is neither in the cache nor to be had from the Hub, or has no such split.
    """
    import datasets
    import pandas as pd
    from huggingface_hub import HfApi

    # The two libraries raise errors of many unrelated classes; each means "not to be had".
    try:
        with _offline():
            dataset = datasets.load_dataset(name, split=split)
    except Exception:
        try:
            HfApi().dataset_info(name, timeout=_REACH_TIMEOUT)
            dataset = datasets.load_dataset(name, split=split)
        except Exception as error:
            raise UserError(
                f"{name!r} is no file here, and the Hub dataset {name}#{split} cannot be read: "
                f"{' '.join(str(error).split())}; check the name and the connection"
            ) from error

    assert isinstance(dataset, datasets.Dataset)
    frame = pd.DataFrame(dataset.to_pandas())
    for column, feature in dataset.features.items():
        if isinstance(feature, datasets.ClassLabel):
            name_of = dict(enumerate(feature.names)).get
            frame[column] = frame[column].map(name_of)  # -1, the Hub's "no label", becomes missing
    return frame


@contextmanager
def _offline() -> Iterator[None]:
    """Makes `datasets` look into its cache only; it has no argument for that, just this flag."""
    from datasets import config

    before = config.HF_HUB_OFFLINE
    config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE = before
