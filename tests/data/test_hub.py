import shutil

import datasets
import pytest
from huggingface_hub import HfApi

from bertjax.data.hub import read_hub_dataset
from bertjax.errors import UserError


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """A cache that holds the dataset owner/mine, and a Hub that cannot be reached."""
    cache, source = tmp_path / "cache", tmp_path / "mine"
    source.mkdir()
    features = datasets.Features(
        {"text": datasets.Value("string"), "tag": datasets.ClassLabel(names=["neg", "pos"])}
    )
    rows = {"text": ["a", "b", "c"], "tag": [1, 0, -1]}
    datasets.Dataset.from_dict(rows, features).to_parquet(source / "train-0.parquet")
    datasets.load_dataset(str(source), cache_dir=str(cache))
    shutil.move(cache / "mine", cache / "owner___mine")

    def unreachable(self, name, timeout):
        raise ConnectionError(f"no way to {name}\nin {timeout} s")

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(cache))
    monkeypatch.setattr(HfApi, "dataset_info", unreachable)


@pytest.mark.usefixtures("cached")
def test_a_cached_dataset_needs_no_hub_and_its_classes_become_names():
    frame = read_hub_dataset("owner/mine", "train")
    assert frame["text"].tolist() == ["a", "b", "c"]
    assert frame["tag"].tolist()[:2] == ["pos", "neg"]
    assert frame["tag"].isna().tolist() == [False, False, True]


@pytest.mark.usefixtures("cached")
def test_a_dataset_that_cannot_be_had_is_an_error_of_one_line():
    with pytest.raises(UserError) as error:
        read_hub_dataset("owner/other", "test")
    assert "owner/other#test cannot be read: no way to owner/other in 3.0 s" in str(error.value)


@pytest.mark.usefixtures("cached")
def test_the_offline_flag_of_datasets_is_put_back(monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    read_hub_dataset("owner/mine", "train")
    assert datasets.config.HF_HUB_OFFLINE is False
