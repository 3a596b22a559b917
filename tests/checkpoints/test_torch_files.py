import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertjax.checkpoints.torch_files import TorchZipReader
from bertjax.errors import UserError

FIXTURES = Path(__file__).parent / "fixtures"
MATRIX = np.arange(12, dtype=np.float32).reshape(3, 4)
EXPECTED = {
    "float32": MATRIX,
    "float64": np.array([1.5, -2.5]),
    "float16": np.array([[0.5, -0.25]], np.float16),
    "bfloat16": np.array([1.0, -3.0, 0.15625], ml_dtypes.bfloat16),
    "int64": np.arange(5).reshape(1, 5),
    "int32": np.array([7, -7], np.int32),
    "uint8": np.array([0, 255], np.uint8),
    "bool": np.array([True, False, True]),
    "scalar": np.array(2.5, np.float32),
    "empty": np.zeros((0, 4), np.float32),
    "transposed": MATRIX.T,
    "column": np.array([6.0, 10.0], np.float32),
    "shared": MATRIX,
    "expanded": np.full((2, 3), 4.0, np.float32),
    "parameter": np.full((2, 2), -1.0, np.float32),
}

# Pieces of a pickle: a storage of float32 in record "0", and the call that makes a tensor of it.
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value: int) -> bytes:
    return pickle.dumps(value, 2)[2:-1]


def tuple_of(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def storage(elements: int = 4, key: str = "0") -> bytes:
    kind = b"ctorch\nFloatStorage\n"
    return tuple_of(text("storage"), kind, text(key), text("cpu"), number(elements)) + b"Q"


def tensor(
    elements: int = 4,
    offset: int = 0,
    shape: tuple[int, ...] = (4,),
    strides: tuple[int, ...] = (1,),
    key: str = "0",
) -> bytes:
    sizes = tuple_of(*map(number, shape)), tuple_of(*map(number, strides))
    arguments = tuple_of(storage(elements, key), number(offset), *sizes, b"\x89", b"}")
    return REBUILD + arguments + b"R"


def state(value: bytes, name: bytes = text("w")) -> bytes:
    return b"\x80\x02}" + name + value + b"s."


@pytest.fixture
def archive(tmp_path: Path) -> Callable[..., Path]:
    def write(pickled: bytes, records: dict[str, bytes] | None = None, **options: int) -> Path:
        path = tmp_path / "pytorch_model.bin"
        with zipfile.ZipFile(path, "w", **options) as file:
            file.writestr("model/data.pkl", pickled)
            for name, content in (records or {"data/0": MATRIX[:1].tobytes()}).items():
                file.writestr(f"model/{name}", content)
        return path

    return write


@pytest.mark.parametrize("file", ["tensors.bin", "protocol4.bin"])
@pytest.mark.parametrize("name", list(EXPECTED))
def test_reads_every_dtype_and_view(file: str, name: str) -> None:
    reader = TorchZipReader(FIXTURES / file)
    found = reader.read(name)
    assert reader.names() == list(EXPECTED)
    assert reader.shape(name) == EXPECTED[name].shape
    assert found.dtype == EXPECTED[name].dtype
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, EXPECTED[name])


def test_tensors_of_one_storage_do_not_share_memory() -> None:
    reader = TorchZipReader(FIXTURES / "tensors.bin")
    first = reader.read("float32")
    first[:] = -1
    np.testing.assert_array_equal(reader.read("shared"), MATRIX)


def test_reads_the_state_dict_of_a_module() -> None:
    reader = TorchZipReader(FIXTURES / "module.bin")
    assert reader.names() == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert reader.shape("0.weight") == (3, 2)
    np.testing.assert_array_equal(reader.read("1.weight"), np.ones(3, np.float32))


def test_handmade_pickle_is_what_torch_writes(archive: Callable[..., Path]) -> None:
    """So that each refusal below is of its one oddity, and not of the rest."""
    np.testing.assert_array_equal(TorchZipReader(archive(state(tensor()))).read("w"), MATRIX[0])


class RunsCommand:
    def __init__(self, function: object, argument: str) -> None:
        self.call = function, (argument,)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return self.call  # type: ignore[return-value]


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("kind", ["system", "eval"])
def test_hostile_pickle_runs_nothing(
    archive: Callable[..., Path], tmp_path: Path, protocol: int, kind: str
) -> None:
    import os

    target = tmp_path / "ran"
    bomb = (
        RunsCommand(os.system, f"touch {target}")
        if kind == "system"
        else RunsCommand(eval, f"open({str(target)!r}, 'w').close()")
    )
    pickled = pickle.dumps(OrderedDict(weight=bomb), protocol)
    with pytest.raises(UserError, match="nothing ran") as caught:
        TorchZipReader(archive(pickled))
    assert "\n" not in str(caught.value)
    assert not target.exists()
    pickle.loads(pickled)
    assert target.exists(), "the pickle is no test if it does no harm to pickle itself"


@pytest.mark.parametrize(
    "value",
    [
        b"ctorch._utils\n_import_dotted_name\n" + tuple_of(text("os.system")) + b"R",
        b"ctorch._utils\n_rebuild_tensor_v2.__globals__\n",
        b"ctorch\nload\n",
        b"ctorch._utils _rebuild_tensor_v2\n\n",
        text("torch._utils") + text("_rebuild_tensor_v2.__class__") + b"\x93",
        text("collections") + text("OrderedDict.__init__") + b"\x93",
        number(1) + text("OrderedDict") + b"\x93",
        b"ios\nsystem\n",
        b"\x82\x01",
        b"\x83\x01\x00",
        b"\x84\x01\x00\x00\x00",
        b"ccollections\nOrderedDict\n)\x81",
        b"P0\n",
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_other_names_and_opcodes_are_refused(archive: Callable[..., Path], value: bytes) -> None:
    with pytest.raises(UserError, match="nothing ran"):
        TorchZipReader(archive(state(value)))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (REBUILD + b")R", "odd arguments"),
        (REBUILD + tuple_of(storage(), number(0)) + b"R", "odd arguments"),
        (REBUILD + b"]R", "damaged"),
        (b"ctorch._utils\n_rebuild_parameter\n)R", "damaged"),
        (b"ctorch._utils\n_rebuild_parameter\n" + tuple_of(text("x")) + b"R", "odd arguments"),
        (b"ccollections\nOrderedDict\n" + tuple_of(b"]") + b"R", "odd arguments"),
        (b"ctorch\nFloatStorage\n" + tuple_of(number(1 << 60)) + b"R", "odd arguments"),
        (text("eval") + tuple_of(text("1")) + b"R", "damaged"),
        (REBUILD + b"}" + text("__code__") + b"Nsb", "damaged"),
        (tuple_of(text("storage")) + b"Q", "odd way"),
        (text("0") + b"Q", "odd way"),
        (tuple_of(b"]", REBUILD, text("0"), text("cpu"), number(4)) + b"Q", "odd way"),
        (storage(-1), "odd way"),
        (storage(), "is a _Storage, expected a tensor"),
        (b"}", "is a dict, expected a tensor"),
        (number(3), "is a int, expected a tensor"),
        (tensor(offset=-1), "odd arguments"),
        (tensor(strides=(-1,)), "odd arguments"),
        (tensor(shape=(-4,)), "odd arguments"),
        (tensor(shape=(2, 2)), "odd arguments"),
        (tensor(shape=(1,) * 33, strides=(1,) * 33), "odd arguments"),
        (tensor(offset=1), "beyond its storage"),
        (tensor(strides=(2,)), "beyond its storage"),
        (tensor(shape=(5,)), "beyond its storage"),
        (tensor(elements=5), "has 16 bytes, expected 20"),
        (tensor(key="1"), "storage '1' of tensor 'w' is missing"),
        (tensor(key="../data.pkl"), "is missing"),
        (tensor(shape=(1 << 40,), strides=(0,)), "larger than the whole file"),
        (tensor(shape=(0, 1 << 40), strides=(1 << 40, 1)), "larger than the whole file"),
        (b"0" * 9, "POP"),
        (b"t", "damaged"),
        (b"h\x07", "damaged"),
        (b"S'\\o'\n", "damaged"),
    ],
    ids=lambda value: ascii(value)[-40:],
)
def test_odd_arguments_are_refused(
    archive: Callable[..., Path], value: bytes, message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        TorchZipReader(archive(state(value)))
    assert "\n" not in str(caught.value)


def test_what_crashes_pickle_is_refused(archive: Callable[..., Path]) -> None:
    nested = b")" + b"\x85" * 1_000_000
    with pytest.raises(UserError, match="a key that is not text"):
        TorchZipReader(archive(state(b"N", name=nested)))
    with pytest.raises(UserError, match="expected a tensor"):
        TorchZipReader(archive(state(b"Nr\xff\xff\xff\x7f")))


def test_pickle_of_enormous_size_is_refused(archive: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match=r"data\.pkl is larger"):
        TorchZipReader(archive(b"\x80\x02" + b"]" * (5 << 20) + b"."))


def test_compressed_records_are_refused(archive: Callable[..., Path]) -> None:
    bomb = archive(state(tensor()), {"data/0": bytes(1 << 20)}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match="compressed or encrypted"):
        TorchZipReader(bomb)


def test_record_that_claims_more_than_the_file_holds_is_refused(
    archive: Callable[..., Path],
) -> None:
    path = archive(state(tensor(elements=1 << 28, shape=(1 << 28,))))
    raw = bytearray(path.read_bytes())
    directory = raw.rindex(b"PK\x01\x02")
    raw[directory + 20 : directory + 28] = struct.pack("<II", 1 << 30, 1 << 30)
    path.write_bytes(raw)
    with pytest.raises(UserError, match="'model/data/0' is damaged"):
        TorchZipReader(path)


def test_big_endian_file_is_refused(archive: Callable[..., Path]) -> None:
    path = archive(state(tensor()), {"data/0": bytes(16), "byteorder": b"big"})
    with pytest.raises(UserError, match="big-endian"):
        TorchZipReader(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ((FIXTURES / "legacy.bin").read_bytes(), r"format of torch before 1\.6"),
        ((FIXTURES / "whole_module.bin").read_bytes(), r"torch\.nn\.modules\.container"),
        ((FIXTURES / "tensors.bin").read_bytes()[:-30], "truncated"),
        (b"PK\x03\x04", "truncated"),
        (b"", "not a file written by torch.save"),
        (b"no weights at all", "not a file written by torch.save"),
        (b"PK\x05\x06" + bytes(18), "expected one data.pkl in the archive, found 0"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        TorchZipReader(path)


def test_missing_file_and_unknown_tensor_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.bin cannot be read"):
        TorchZipReader(tmp_path / "none.bin")
    reader = TorchZipReader(FIXTURES / "module.bin")
    with pytest.raises(UserError, match="holds no tensor 'x'"):
        reader.read("x")
    with pytest.raises(UserError, match="holds no tensor 'x'"):
        reader.shape("x")


def test_file_that_shrinks_is_noticed(archive: Callable[..., Path]) -> None:
    path = archive(state(tensor()))
    reader = TorchZipReader(path)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UserError, match="ends inside tensor 'w'"):
        reader.read("w")


@settings(max_examples=300, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 2**20), st.binary(min_size=1, max_size=4))))
def test_damaged_pickle_is_read_or_refused(
    changes: list[tuple[int, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with zipfile.ZipFile(FIXTURES / "tensors.bin") as source:
        entries = {name: source.read(name) for name in source.namelist()}
    pickled = next(name for name in entries if name.endswith("data.pkl"))
    for place, content in changes:
        place %= len(entries[pickled])
        entries[pickled] = entries[pickled][:place] + content + entries[pickled][place + 1 :]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        for name, content in entries.items():
            target.writestr(name, content)
    path = tmp_path_factory.mktemp("damaged") / "pytorch_model.bin"
    path.write_bytes(buffer.getvalue())
    try:
        reader = TorchZipReader(path)
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017  either outcome is right
        return
    for name in reader.names():
        assert reader.read(name).shape == reader.shape(name)
