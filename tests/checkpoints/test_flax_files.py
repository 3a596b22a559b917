from pathlib import Path
from typing import Any

import ml_dtypes
import msgpack
import numpy as np
import pytest
from flax.serialization import msgpack_serialize
from hypothesis import given, settings
from hypothesis import strategies as st

from bertjax.checkpoints.flax_files import FlaxMsgpackReader
from bertjax.errors import UserError

KERNEL = np.arange(6, dtype=np.float32).reshape(2, 3)
VECTOR = np.array([1.0, 2.0, 3.0], np.float32)
TREE = {
    "bert": {
        "embeddings": {
            "word_embeddings": {"embedding": KERNEL},
            "LayerNorm": {"scale": VECTOR, "bias": VECTOR.astype(np.float16)},
        },
        "encoder": {
            "layer": {
                "0": {"attention": {"self": {"query": {"kernel": KERNEL, "bias": VECTOR}}}},
                "10": {"output": {"dense": {"kernel": KERNEL.astype(ml_dtypes.bfloat16)}}},
            }
        },
    },
    "cls": {"predictions": {"bias": np.zeros(0, np.float32)}},
}
EXPECTED = {
    "bert.embeddings.word_embeddings.weight": KERNEL,
    "bert.embeddings.LayerNorm.weight": VECTOR,
    "bert.embeddings.LayerNorm.bias": VECTOR.astype(np.float16),
    "bert.encoder.layer.0.attention.self.query.weight": KERNEL.T,
    "bert.encoder.layer.0.attention.self.query.bias": VECTOR,
    "bert.encoder.layer.10.output.dense.weight": KERNEL.T.astype(ml_dtypes.bfloat16),
    "cls.predictions.bias": np.zeros(0, np.float32),
}


def write(path: Path, tree: Any) -> Path:
    path.write_bytes(msgpack_serialize(tree, in_place=False))
    return path


@pytest.mark.parametrize("tree", [TREE, {"params": TREE}], ids=["bare", "params"])
def test_names_and_layout_are_those_of_torch(tmp_path: Path, tree: Any) -> None:
    reader = FlaxMsgpackReader(write(tmp_path / "flax_model.msgpack", tree))
    assert set(reader.names()) == set(EXPECTED)
    assert len(reader.names()) == len(EXPECTED)
    for name, tensor in EXPECTED.items():
        found = reader.read(name)
        assert reader.shape(name) == found.shape == tensor.shape
        assert found.dtype == tensor.dtype
        assert found.flags.c_contiguous
        assert found.flags.writeable
        np.testing.assert_array_equal(found, tensor)


@pytest.mark.parametrize("size", [1, 7, 100, 20_000])
def test_every_length_of_encoding_is_read(tmp_path: Path, size: int) -> None:
    """msgpack has headers of five sizes for what is up to 16, 255, 65,535 bytes and more."""
    tensor = np.arange(size, dtype=np.float32)
    reader = FlaxMsgpackReader(
        write(tmp_path / "a", {"a": {"bias": tensor}, "b": {"bias": tensor}})
    )
    np.testing.assert_array_equal(reader.read("a.bias"), tensor)
    np.testing.assert_array_equal(reader.read("b.bias"), tensor)


def array(shape: object, dtype: object, content: object, code: int = 1) -> msgpack.ExtType:
    return msgpack.ExtType(code, msgpack.packb((shape, dtype, content)))


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ([1, 2], "as a flax checkpoint"),
        ({"a": 3}, "as a flax checkpoint"),
        ({"a": "text"}, "as a flax checkpoint"),
        ({1: {"bias": array([1], "float32", bytes(4))}}, "key that is not text"),
        ({"a": array([1], "float32", bytes(4), code=2)}, "not an array"),
        ({"a": array([2], "float32", bytes(4))}, "array is truncated"),
        ({"a": array([-1], "float32", b"")}, "array is truncated"),
        ({"a": array([1], "object", bytes(8))}, "dtype 'object', which is not supported"),
        ({"a": array([1], "f4,(,)f4", bytes(8))}, "is not supported"),
        ({"a": array([1], [], bytes(8))}, "is not supported"),
        ({"a": array([1], "float32", "abcd")}, "array is truncated"),
        ({"a": array(3, "float32", bytes(12))}, "as a flax checkpoint"),
        ({"a": {k: array([0], "int8", b"") for k in ("kernel", "weight")}}, "there twice"),
        ({"a": {"__msgpack_chunked_array__": True}}, "more than 1 GiB"),
        ({"a" * 70_000: {}}, "as a flax checkpoint"),
    ],
)
def test_other_content_is_refused(tmp_path: Path, tree: Any, message: str) -> None:
    path = tmp_path / "flax_model.msgpack"
    path.write_bytes(msgpack.packb(tree))
    with pytest.raises(UserError, match=message) as caught:
        FlaxMsgpackReader(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_endless_nesting_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "flax_model.msgpack"
    path.write_bytes(b"\x81\xa1a" * 100_000 + b"\x80")
    with pytest.raises(UserError, match="more than 32 deep"):
        FlaxMsgpackReader(path)


@pytest.mark.parametrize("kept", [0, 1, 40, 200, -1])
def test_truncated_file_is_refused(tmp_path: Path, kept: int) -> None:
    path = write(tmp_path / "flax_model.msgpack", TREE)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match="truncated or damaged"):
        FlaxMsgpackReader(path)


def test_bytes_after_the_end_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "flax_model.msgpack", TREE)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(UserError, match="bytes follow"):
        FlaxMsgpackReader(path)


def test_file_that_shrinks_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "flax_model.msgpack", TREE)
    reader = FlaxMsgpackReader(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"ends inside tensor 'bert\.encoder\.layer\.10"):
        reader.read("bert.encoder.layer.10.output.dense.weight")


def test_missing_file_and_unknown_tensor_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.msgpack cannot be read"):
        FlaxMsgpackReader(tmp_path / "none.msgpack")
    reader = FlaxMsgpackReader(write(tmp_path / "a", TREE))
    with pytest.raises(UserError, match="holds no tensor 'x'"):
        reader.read("x")
    with pytest.raises(UserError, match="holds no tensor 'x'"):
        reader.shape("x")


@settings(max_examples=300, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 2**20), st.binary(min_size=1, max_size=4))))
def test_damaged_file_is_read_or_refused(
    changes: list[tuple[int, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = msgpack_serialize(TREE, in_place=False)
    for place, change in changes:
        place %= len(content)
        content = content[:place] + change + content[place + 1 :]
    path = tmp_path_factory.mktemp("damaged") / "flax_model.msgpack"
    path.write_bytes(content)
    try:
        reader = FlaxMsgpackReader(path)
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017  either outcome is right
        return
    for name in reader.names():
        assert reader.read(name).shape == reader.shape(name)
