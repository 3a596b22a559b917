"""Read one `pytorch_model.bin` (the zip format of `torch.save`) without torch or `pickle`.

A pickle is a program, and unpickling runs it. Here the few opcodes that a state dict is written
with are interpreted by hand: nothing is imported, called, hashed or assigned to but lists and dicts
of text keys, so a hostile file can do no more than be refused. A restricted `pickle.Unpickler` is
not enough: nested tuples as a dict key overflow its C stack, one opcode makes its memo take all
memory, and extension opcodes pass by `find_class`.

The format: an archive of uncompressed records; `<name>/data.pkl` is the pickle, `<name>/data/<key>`
the bytes of a storage; a tensor is a storage with an offset, a shape and strides, in elements.
"""

import math
import pickletools
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import ml_dtypes
import numpy as np

from bertjax.errors import UserError

_DTYPES = {
    "torch DoubleStorage": np.dtype(np.float64),
    "torch FloatStorage": np.dtype(np.float32),
    "torch HalfStorage": np.dtype(np.float16),
    "torch BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "torch LongStorage": np.dtype(np.int64),
    "torch IntStorage": np.dtype(np.int32),
    "torch ShortStorage": np.dtype(np.int16),
    "torch CharStorage": np.dtype(np.int8),
    "torch ByteStorage": np.dtype(np.uint8),
    "torch BoolStorage": np.dtype(np.bool_),
}
_ORDERED_DICT = "collections OrderedDict"
_TENSOR = "torch._utils _rebuild_tensor_v2"
_PARAMETER = "torch._utils _rebuild_parameter"
_GLOBALS = frozenset({*_DTYPES, _ORDERED_DICT, _TENSOR, _PARAMETER})

_LARGEST_PICKLE = 4 << 20  # bytes; that of BERT-large takes 60 thousand
_MOST_DIMENSIONS = 32
_LARGEST_NUMBER = 1 << 48  # of elements, offsets and strides; their bytes fit 64 bits
_DAMAGE = (OSError, ValueError, EOFError, OverflowError, NotImplementedError, struct.error)

# Opcodes by the name that pickletools gives them.
_SKIPPED = frozenset({"PROTO", "FRAME", "STOP"})
_ARGUMENTS = frozenset(
    {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"}
    | {"BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclass(frozen=True)
class _Global:
    """A name that the pickle would import; only ever compared."""

    name: str


class _Storage(NamedTuple):
    key: str
    dtype: np.dtype
    elements: int


class _Tensor(NamedTuple):
    """A view of a storage; offset and strides in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Record(NamedTuple):
    """Where a record's bytes lie in the archive."""

    start: int
    size: int


class TorchZipReader:
    """The tensors of one `.bin` file, each read from disk when it is asked for.

    Strides, offsets and storages shared between tensors are honoured; a tensor's bytes alone are
    read.

    Raises:
        UserError: no such file, truncated, of the older format that is not a zip, or a pickle that
            holds anything but a state dict of tensors.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            pickled, self._records = _open_archive(self.path)
            self._tensors = _state_dict(pickled)
            largest = self.path.stat().st_size
            for name, tensor in self._tensors.items():
                self._check(name, tensor, largest)
        except (zipfile.BadZipFile, *_DAMAGE) as error:
            raise UserError(
                f"{self.path} cannot be read: {' '.join(str(error).split())}; use a safetensors "
                "file of this checkpoint instead"
            ) from error

    def names(self) -> list[str]:
        """Names of the tensors, in the file's order."""
        return list(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor. UserError: no such tensor."""
        return self._tensor(name).shape

    def read(self, name: str) -> np.ndarray:
        """One tensor in memory of its own, C-contiguous.

        Raises:
            UserError: no such tensor, or the file became shorter since it was opened.
        """
        storage, offset, shape, strides = self._tensor(name)
        width = storage.dtype.itemsize
        span = np.empty(_span(shape, strides), storage.dtype)
        try:
            with self.path.open("rb") as file:
                file.seek(self._records[storage.key].start + offset * width)
                found = file.readinto(span.view(np.uint8).data)
        except OSError as error:
            raise UserError(f"{self.path} cannot be read: {error}") from error
        if found != span.nbytes:
            raise UserError(f"{self.path} ends inside tensor {name!r}; copy the file again")
        # `_check` has seen to it that no entry of this view lies outside `span`.
        view = np.lib.stride_tricks.as_strided(span, shape, [step * width for step in strides])
        return np.asarray(view, order="C")

    def _tensor(self, name: str) -> _Tensor:
        if name not in self._tensors:
            raise UserError(f"{self.path} holds no tensor {name!r}")
        return self._tensors[name]

    def _check(self, name: str, tensor: _Tensor, largest: int) -> None:
        """ValueError unless the tensor lies within its storage, and the storage in its record.

        Nor may it take more than `largest` bytes: a stride of 0 repeats entries, so that a few
        bytes could stand for more than memory holds.
        """
        storage, offset, shape, strides = tensor
        record = self._records.get(storage.key)
        if record is None:
            raise ValueError(f"the storage {storage.key!r} of tensor {name!r} is missing")
        width = storage.dtype.itemsize
        if storage.elements * width > record.size:
            raise ValueError(
                f"the storage of tensor {name!r} has {record.size} bytes, expected "
                f"{storage.elements * width}"
            )
        if offset + _span(shape, strides) > storage.elements:
            raise ValueError(f"tensor {name!r} reaches beyond its storage")
        if math.prod(max(size, 1) for size in shape) * width > largest:
            raise ValueError(f"tensor {name!r} of shape {shape} is larger than the whole file")


def _span(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Elements of a storage from the first to the last that a view touches."""
    if 0 in shape:
        return 0
    return 1 + sum((size - 1) * step for size, step in zip(shape, strides, strict=True))


def _open_archive(path: Path) -> tuple[bytes, dict[str, _Record]]:
    """The pickle of the archive at `path`, and the place of each storage's bytes by its key."""
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            first = file.read(2)
        if first == b"PK":
            raise ValueError("the zip archive is truncated or damaged")
        if first[:1] == b"\x80":
            raise ValueError(
                "it is a bare pickle, the format of torch before 1.6; where torch is installed, "
                "torch.load(file, weights_only=True) and safetensors.torch.save_file convert it"
            )
        raise ValueError("it is not a file written by torch.save")
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        entries = {entry.filename: entry for entry in archive.infolist()}
        pickles = [name for name in entries if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError(f"expected one data.pkl in the archive, found {len(pickles)}")
        prefix = pickles[0].removesuffix("data.pkl")
        _refuse_packed(entries[pickles[0]])
        if entries[pickles[0]].file_size > _LARGEST_PICKLE:
            raise ValueError(f"its data.pkl is larger than {_LARGEST_PICKLE} bytes")
        order = entries.get(f"{prefix}byteorder")
        if order is not None and order.file_size == len(b"big"):
            raise ValueError("its numbers are in big-endian order, expected little-endian")
        data = f"{prefix}data/"
        largest = path.stat().st_size
        records = {
            name.removeprefix(data): _locate(file, entry, largest)
            for name, entry in entries.items()
            if name.startswith(data)
        }
        return archive.read(entries[pickles[0]]), records


def _refuse_packed(entry: zipfile.ZipInfo) -> None:
    packed = entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size
    if packed or entry.flag_bits & 1:
        raise ValueError(f"record {entry.filename!r} is compressed or encrypted, expected as is")


def _locate(file: BinaryIO, entry: zipfile.ZipInfo, largest: int) -> _Record:
    """Place of an entry's bytes, which follow a local header that torch pads for alignment."""
    _refuse_packed(entry)
    file.seek(entry.header_offset)
    signature, name_length, extra_length = struct.unpack("<4s22xHH", file.read(30))
    start = entry.header_offset + 30 + name_length + extra_length
    if signature != b"PK\x03\x04" or start + entry.file_size > largest:
        raise ValueError(f"record {entry.filename!r} is damaged")
    return _Record(start, entry.file_size)


def _state_dict(pickled: bytes) -> dict[str, _Tensor]:
    """What the pickle stands for: tensors by name. ValueError: it stands for anything else."""
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(pickled):
            machine.step(opcode.name, argument)
        (state,) = machine.stack
    # pickletools warns of a bad escape in an opcode that the machine would refuse next.
    except (IndexError, KeyError, TypeError, DeprecationWarning) as error:
        raise ValueError("its pickle is damaged") from error
    if not isinstance(state, dict):
        raise ValueError(f"its pickle holds a {type(state).__name__}, expected a dict of tensors")
    for name, value in state.items():
        if not isinstance(value, _Tensor):
            raise ValueError(f"entry {name!r} is a {type(value).__name__}, expected a tensor")
    return state


class _Machine:
    """The stack, marks and memo of a pickle, and the opcodes that a state dict needs."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def step(self, opcode: str, argument: Any) -> None:
        """Do one opcode. ValueError, IndexError, KeyError or TypeError: it is not allowed."""
        if opcode in _SKIPPED:
            return
        if opcode in _ARGUMENTS:
            self.stack.append(argument)
        elif opcode in _CONSTANTS:
            self.stack.append(_CONSTANTS[opcode])
        elif opcode in {"BINPUT", "LONG_BINPUT"}:
            self.memo[argument] = self.stack[-1]
        elif opcode == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif opcode in {"BINGET", "LONG_BINGET"}:
            self.stack.append(self.memo[argument])
        elif opcode == "MARK":
            self.marks.append(len(self.stack))
        elif not self._collect(opcode) and not self._refer(opcode, argument):
            raise ValueError(f"its pickle uses {opcode}, which no state dict needs (nothing ran)")

    def _collect(self, opcode: str) -> bool:
        """Make or fill a tuple, list or dict; False: the opcode does something else."""
        if opcode == "EMPTY_DICT":
            self.stack.append({})
        elif opcode == "EMPTY_LIST":
            self.stack.append([])
        elif opcode in _TUPLES:
            self.stack.append(tuple(self._pop(_TUPLES[opcode])))
        elif opcode == "TUPLE":
            self.stack.append(tuple(self._pop_mark()))
        elif opcode in {"APPEND", "APPENDS"}:
            values = self._pop(1) if opcode == "APPEND" else self._pop_mark()
            self._top(list).extend(values)
        elif opcode in {"SETITEM", "SETITEMS"}:
            values = self._pop(2) if opcode == "SETITEM" else self._pop_mark()
            keys = values[::2]
            if not all(type(key) is str for key in keys):
                raise ValueError("its pickle holds a dict with a key that is not text")
            self._top(dict).update(zip(keys, values[1::2], strict=True))
        else:
            return False
        return True

    def _refer(self, opcode: str, argument: Any) -> bool:
        """Name or apply one of the allowed globals; False: the opcode does something else."""
        if opcode == "GLOBAL":
            self.stack.append(_allowed(argument))
        elif opcode == "STACK_GLOBAL":
            module, name = self._pop(2)
            self.stack.append(_allowed(f"{module} {name}" if type(module) is str else ""))
        elif opcode == "REDUCE":
            function, arguments = self._pop(2)
            self.stack.append(_apply(function, arguments))
        elif opcode == "BINPERSID":
            self.stack.append(_storage(self._pop(1)[0]))
        elif opcode == "BUILD":
            # An OrderedDict's `_metadata` (versions of torch modules), of no use here.
            self._pop(1)
            self._top(dict)
        else:
            return False
        return True

    def _pop(self, count: int) -> list[Any]:
        if count > len(self.stack):
            raise IndexError("the stack is empty")
        values = self.stack[-count:]
        del self.stack[-count:]
        return values

    def _pop_mark(self) -> list[Any]:
        mark = self.marks.pop()
        values = self.stack[mark:]
        del self.stack[mark:]
        return values

    def _top(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise TypeError(f"expected a {kind.__name__}")
        return self.stack[-1]


def _allowed(name: str) -> _Global:
    if name not in _GLOBALS:
        readable = ascii(name.replace(" ", ".")[:80])
        raise ValueError(f"its pickle asks for {readable}, which no tensor needs (nothing ran)")
    return _Global(name)


def _apply(function: Any, arguments: Any) -> Any:
    """The value of an allowed global called with `arguments`."""
    if type(function) is not _Global or type(arguments) is not tuple:
        raise TypeError("expected a function and a tuple")
    if function.name == _ORDERED_DICT and arguments == ():
        return {}
    if function.name == _PARAMETER and type(arguments[0]) is _Tensor:
        return arguments[0]
    if function.name == _TENSOR and len(arguments) in (6, 7):
        storage, offset, shape, strides = arguments[:4]
        natural = [offset, *shape, *strides]
        if (
            type(storage) is _Storage
            and type(shape) is type(strides) is tuple
            and len(shape) == len(strides) <= _MOST_DIMENSIONS
            and all(type(number) is int and 0 <= number < _LARGEST_NUMBER for number in natural)
        ):
            return _Tensor(storage, offset, shape, strides)
    raise ValueError(f"its pickle calls {function.name.replace(' ', '.')} with odd arguments")


def _storage(persistent: Any) -> _Storage:
    """The storage that a persistent id ("storage", type, key, device, elements) stands for."""
    if type(persistent) is tuple and len(persistent) == 5:
        word, kind, key, _, elements = persistent
        if (
            (type(word) is str and word == "storage")
            and (type(kind) is _Global and kind.name in _DTYPES)
            and (type(key) is str and type(elements) is int and 0 <= elements < _LARGEST_NUMBER)
        ):
            return _Storage(key, _DTYPES[kind.name], elements)
    raise ValueError("its pickle refers to a storage in an odd way")
