import json
import struct
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from bertjax.checkpoints.safetensors_files import SafetensorsReader, write_safetensors
from bertjax.errors import UserError

MATRIX = np.arange(6, dtype=np.float32).reshape(2, 3)
TENSORS = {
    "float32": MATRIX,
    "transposed": MATRIX.T,
    "every_other": MATRIX[:, ::2],
    "big_endian": MATRIX.astype(">f4"),
    "float16": np.array([0.5, -0.25], np.float16),
    "bfloat16": np.array([1.0, -3.0, 0.15625], ml_dtypes.bfloat16),
    "int64": np.arange(3),
    "bool": np.array([True, False]),
    "scalar": np.array(2.5, np.float32),
    "empty": np.zeros((0, 4), np.float32),
}


def file_of(path: Path, header: object, body: bytes = bytes(24)) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


def entry(**changes: object) -> dict[str, object]:
    return {"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]} | changes}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_safetensors(path, TENSORS)
    reader = SafetensorsReader(path)
    assert reader.names() == sorted(TENSORS)
    for name, tensor in TENSORS.items():
        found = reader.read(name)
        assert reader.shape(name) == found.shape == tensor.shape
        assert found.dtype == tensor.dtype.newbyteorder("=")
        assert found.flags.c_contiguous
        np.testing.assert_array_equal(found, tensor)


def test_what_is_read_is_in_memory_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_safetensors(path, {"a": MATRIX})
    reader = SafetensorsReader(path)
    reader.read("a")[:] = -1
    np.testing.assert_array_equal(reader.read("a"), MATRIX)


def test_bfloat16_is_read_where_nobody_else_imported_its_type(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "a.safetensors", {"a": TENSORS["bfloat16"]})
    program = (
        "from bertjax.checkpoints.safetensors_files import SafetensorsReader;"
        "print(SafetensorsReader('a.safetensors').read('a').dtype)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(root)!r}); {program}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "bfloat16\n"


def test_metadata_says_pt_unless_told_otherwise(tmp_path: Path) -> None:
    def metadata(path: Path) -> object:
        raw = path.read_bytes()
        return json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]

    write_safetensors(tmp_path / "a", {"a": MATRIX})
    write_safetensors(tmp_path / "b", {"a": MATRIX}, metadata={"who": "me"})
    assert metadata(tmp_path / "a") == {"format": "pt"}
    assert metadata(tmp_path / "b") == {"who": "me"}


def test_written_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    write_safetensors(tmp_path / "a", {"a": MATRIX})
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_safetensors(path, {"a": MATRIX})
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"cannot be written: .*complex128"):
        write_safetensors(path, {"a": MATRIX.astype(complex)})
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


def test_write_replaces_while_a_reader_is_open(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_safetensors(path, {"a": MATRIX})
    reader = SafetensorsReader(path)
    write_safetensors(path, {"a": reader.read("a") + 1})
    np.testing.assert_array_equal(reader.read("a"), MATRIX)
    np.testing.assert_array_equal(SafetensorsReader(path).read("a"), MATRIX + 1)


def test_write_to_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be written: .*check the folder"):
        write_safetensors(tmp_path / "none" / "a", {"a": MATRIX})


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"{", "invalid JSON"),
        (b"[]", "invalid JSON"),
        (b'{"a":\n\xff}', "UTF-8"),
        (entry(shape=[2**40, 2**40]), "overflow"),
        (entry(shape=[3, 3]), "invalid shape"),
        (entry(shape=[-2, 3]), "invalid JSON"),
        (entry(data_offsets=[0, 2**62]), "invalid shape"),
        (entry(data_offsets=[4, 28]), "offset"),
        (entry(data_offsets=[24, 0]), "offset"),
        (entry(dtype="OBJECT"), "unknown variant"),
        ({"__metadata__": {"x": [1]}, **entry()}, "invalid JSON"),
    ],
)
def test_hostile_headers_are_refused(tmp_path: Path, header: object, message: str) -> None:
    path = file_of(tmp_path / "model.safetensors", header)
    with pytest.raises(UserError, match=message) as caught:
        SafetensorsReader(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_dtype_that_numpy_lacks_is_named(tmp_path: Path) -> None:
    path = file_of(tmp_path / "a", entry(dtype="F8_E4M3", shape=[24]))
    with pytest.raises(UserError, match=r"tensor 'a' has dtype F8_E4M3, expected one of BF16"):
        SafetensorsReader(path).read("a")


@pytest.mark.parametrize("kept", [0, 4, 20, -1])
def test_truncated_file_is_named(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "model.safetensors"
    write_safetensors(path, TENSORS)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match="truncated or damaged") as caught:
        SafetensorsReader(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_file_that_shrinks_is_noticed(tmp_path: Path) -> None:
    path = file_of(tmp_path / "a", entry())
    reader = SafetensorsReader(path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(UserError, match="cannot be read as safetensors"):
        reader.read("a")


def test_missing_file_and_unknown_tensor_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.safetensors .*there is no such file"):
        SafetensorsReader(tmp_path / "none.safetensors")
    reader = SafetensorsReader(file_of(tmp_path / "a", entry()))
    with pytest.raises(UserError, match="holds no tensor 'x'"):
        reader.read("x")
    with pytest.raises(UserError, match="holds no tensor 'x'"):
        reader.shape("x")
