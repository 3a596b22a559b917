import json
from pathlib import Path
from typing import Any

import pytest

from bertjax.checkpoints.sentence import read_pooling, write_pooling
from bertjax.errors import UserError
from bertjax.models.pooling import SentencePooling


def modules(*kinds: str) -> list[dict[str, Any]]:
    return [
        {
            "idx": i,
            "name": str(i),
            "path": f"{i}_{kind}" if i else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for i, kind in enumerate(kinds)
    ]


PLAIN = modules("Transformer", "Pooling")


def write(folder: Path, listed: Any = PLAIN, pooling: Any = None) -> None:
    """A folder with these two files; a str is written as it is."""
    (folder / "1_Pooling").mkdir()
    for path, values in (
        (folder / "modules.json", listed),
        (folder / "1_Pooling" / "config.json", pooling or {"pooling_mode_mean_tokens": True}),
    ):
        path.write_text(values if isinstance(values, str) else json.dumps(values))


def test_the_packaged_checkpoint_takes_the_mean_and_normalises_it(packaged_folder):
    assert read_pooling(packaged_folder) == SentencePooling("mean", normalize=True)


def test_a_folder_without_modules_has_none(tmp_path):
    assert read_pooling(tmp_path) is None


@pytest.mark.parametrize("mode", ["mean", "cls"])
@pytest.mark.parametrize("normalize", [True, False])
def test_what_is_written_is_read(mode, normalize, tmp_path):
    pooling = SentencePooling(mode, normalize)
    write_pooling(tmp_path, pooling, width=8)
    assert read_pooling(tmp_path) == pooling


def test_what_is_written_has_the_form_of_sentence_transformers(tmp_path, packaged_folder):
    write_pooling(tmp_path, SentencePooling("mean", normalize=True), width=384)

    def listed(folder: Path) -> list[tuple[str, str]]:
        values = json.loads((folder / "modules.json").read_text())
        return [(module["path"], module["type"]) for module in values]

    assert listed(tmp_path) == listed(packaged_folder)
    written = json.loads((tmp_path / "1_Pooling" / "config.json").read_text())
    real = json.loads((packaged_folder / "1_Pooling" / "config.json").read_text())
    assert written.items() <= real.items()
    assert written["word_embedding_dimension"] == 384
    assert (tmp_path / "2_Normalize").is_dir()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode": "mean"}, "mean"),
        ({"pooling_mode": "cls", "include_prompt": True}, "cls"),
    ],
)
def test_modes(config, expected, tmp_path):
    write(tmp_path, pooling=config)
    assert read_pooling(tmp_path) == SentencePooling(expected, normalize=False)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"pooling_mode_max_tokens": True}, "pooling_mode_max_tokens"),
        (
            {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
            "pooling_mode_mean_tokens, pooling_mode_cls_token",
        ),
        ({"pooling_mode": "lasttoken"}, "lasttoken"),
        ({"pooling_mode": ["mean", "cls"]}, r"\['mean', 'cls'\]"),
        ({"pooling_mode": None}, "None"),
        ({"pooling_mode_mean_tokens": False}, "none"),
    ],
)
def test_other_modes_are_refused(config, named, tmp_path):
    write(tmp_path, pooling=config)
    with pytest.raises(UserError, match=f"asks for the pooling {named}: only one of mean and cls"):
        read_pooling(tmp_path)


def test_a_module_that_would_change_the_numbers_is_refused(tmp_path):
    write(tmp_path, modules("Transformer", "Pooling", "Dense"))
    with pytest.raises(UserError, match=r"the module sentence_transformers\.models\.Dense, which"):
        read_pooling(tmp_path)


def test_a_folder_without_a_pooling_module_is_refused(tmp_path):
    write(tmp_path, modules("Transformer", "Normalize"))
    with pytest.raises(UserError, match="names no Pooling module"):
        read_pooling(tmp_path)


@pytest.mark.parametrize(
    "listed", ["", "{", '{"a": 1}', "[1]", "[{}]", '[{"type": 3}]', "[" * 100_000, "null"]
)
def test_a_damaged_list_of_modules_is_refused(listed, tmp_path):
    write(tmp_path, listed)
    with pytest.raises(UserError, match=r"modules\.json") as error:
        read_pooling(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("config", ["", "[]", "null", "{"])
def test_a_damaged_pooling_file_is_refused(config, tmp_path):
    write(tmp_path)
    (tmp_path / "1_Pooling" / "config.json").write_text(config)
    with pytest.raises(UserError, match=r"1_Pooling/config\.json"):
        read_pooling(tmp_path)


def test_an_absent_pooling_file_is_refused(tmp_path):
    write(tmp_path)
    (tmp_path / "1_Pooling" / "config.json").unlink()
    with pytest.raises(UserError, match=r"1_Pooling/config\.json cannot be read"):
        read_pooling(tmp_path)
