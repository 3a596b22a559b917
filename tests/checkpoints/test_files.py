import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from flax.serialization import msgpack_serialize

from bertjax.checkpoints.files import WEIGHT_FILES, open_tensors
from bertjax.checkpoints.safetensors_files import write_safetensors
from bertjax.errors import UserError

FIXTURES = Path(__file__).parent / "fixtures"


def filled(value: float) -> dict[str, np.ndarray]:
    return {"weight": np.full((2, 3), value, np.float32)}


def write_index(folder: Path, stem: str, shards: dict[str, str]) -> Path:
    path = folder / f"{stem}.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 0}, "weight_map": shards}))
    return path


def write_sharded(folder: Path) -> None:
    write_safetensors(folder / "model-00001-of-00002.safetensors", {"a": np.zeros(2)})
    write_safetensors(folder / "model-00002-of-00002.safetensors", {"b": np.ones(3)})
    shards = {f"{name}": f"model-0000{n}-of-00002.safetensors" for n, name in ((2, "b"), (1, "a"))}
    write_index(folder, "model.safetensors", shards)


def test_formats_are_taken_in_order(tmp_path: Path) -> None:
    """With all five formats in the folder, each is read once those before it are gone."""
    (tmp_path / "flax_model.msgpack").write_bytes(msgpack_serialize(filled(1)))
    shutil.copy(FIXTURES / "module.bin", tmp_path / "part.bin")
    write_index(tmp_path, "pytorch_model.bin", {"1.weight": "part.bin"})
    shutil.copy(FIXTURES / "module.bin", tmp_path / "pytorch_model.bin")
    write_sharded(tmp_path)
    write_safetensors(tmp_path / "model.safetensors", filled(5))
    expected = {
        "model.safetensors": ["weight"],
        "model.safetensors.index.json": ["b", "a"],
        "pytorch_model.bin": ["0.weight", "0.bias", "1.weight", "1.bias"],
        "pytorch_model.bin.index.json": ["1.weight"],
        "flax_model.msgpack": ["weight"],
    }
    assert tuple(expected) == WEIGHT_FILES
    for file, names in expected.items():
        reader = open_tensors(tmp_path)
        assert reader.path == tmp_path / file
        assert reader.names() == names
        (tmp_path / file).unlink()


def test_shards_are_read_as_one(tmp_path: Path) -> None:
    write_sharded(tmp_path)
    reader = open_tensors(str(tmp_path))
    assert reader.names() == ["b", "a"]
    assert reader.shape("a") == (2,)
    np.testing.assert_array_equal(reader.read("b"), np.ones(3))
    with pytest.raises(UserError, match="names no tensor 'c'"):
        reader.read("c")


def test_torch_shards_are_read_as_one(tmp_path: Path) -> None:
    shutil.copy(FIXTURES / "module.bin", tmp_path / "one.bin")
    shutil.copy(FIXTURES / "tensors.bin", tmp_path / "two.bin")
    write_index(tmp_path, "pytorch_model.bin", {"1.bias": "one.bin", "int32": "two.bin"})
    reader = open_tensors(tmp_path)
    np.testing.assert_array_equal(reader.read("1.bias"), np.zeros(3))
    np.testing.assert_array_equal(reader.read("int32"), [7, -7])


def test_missing_shard_is_named(tmp_path: Path) -> None:
    write_sharded(tmp_path)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(UserError, match=r"model-00002-of-00002\.safetensors is missing"):
        open_tensors(tmp_path)


def test_truncated_shard_is_named(tmp_path: Path) -> None:
    write_sharded(tmp_path)
    shard = tmp_path / "model-00002-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"model-00002-of-00002\.safetensors cannot be read"):
        open_tensors(tmp_path)


def test_index_of_another_save_is_refused(tmp_path: Path) -> None:
    write_sharded(tmp_path)
    shard = "model-00001-of-00002.safetensors"
    write_index(tmp_path, "model.safetensors", {"a": shard, "c": shard})
    with pytest.raises(UserError, match=f"1 tensors .*'c' in {shard}"):
        open_tensors(tmp_path)


@pytest.mark.parametrize("shard", ["../x", "/etc/passwd", "a/b", "..\\x", "C:x", "", "..", "a\0b"])
def test_shard_outside_the_folder_is_refused(tmp_path: Path, shard: str) -> None:
    write_index(tmp_path, "model.safetensors", {"a": shard})
    with pytest.raises(UserError, match="expected a file beside it"):
        open_tensors(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "as JSON"),
        (b"{", "as JSON"),
        (b"\xff\xfe", "as JSON"),
        (b"[" * 100_000, "as JSON"),
        (b"[]", "no weight_map"),
        (b"{}", "no weight_map"),
        (b'{"weight_map": []}', "no weight_map"),
        (b'{"weight_map": {"a": 1}}', "no weight_map"),
    ],
)
def test_damaged_index_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "pytorch_model.bin.index.json").write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        open_tensors(tmp_path)
    assert "\n" not in str(caught.value)


def test_folder_without_weights_says_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="found nothing"):
        open_tensors(tmp_path)
    (tmp_path / "tf_model.h5").touch()
    (tmp_path / "config.json").touch()
    with pytest.raises(UserError, match=r"model\.safetensors.*found config\.json, tf_model\.h5"):
        open_tensors(tmp_path)
    for number in range(30):
        (tmp_path / f"z{number}").touch()
    with pytest.raises(UserError, match="and 12 more"):
        open_tensors(tmp_path)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no checkpoint folder .*none"):
        open_tensors(tmp_path / "none")


def test_git_lfs_pointer_and_folder_are_no_weights(tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    (tmp_path / "pytorch_model.bin").write_text(pointer)
    with pytest.raises(UserError, match=r"Git LFS pointer.*git lfs pull"):
        open_tensors(tmp_path)
    (tmp_path / "model.safetensors").mkdir()
    with pytest.raises(UserError, match="is not a file"):
        open_tensors(tmp_path)
