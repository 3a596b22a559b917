"""Read one `flax_model.msgpack`, one tensor at a time, under torch's names and in torch's layout.

The file is a nested msgpack map: module names, the same as torch's, then `kernel`, `bias`, `scale`
or `embedding`; each leaf is flax's extension value of (shape, dtype name, bytes). A dense kernel is
[in, out] in flax and [out, in] in torch.

`flax.serialization.msgpack_restore` takes the whole file and every array in memory at once, twice;
so only msgpack's tokens are used here, and a tensor's bytes are read when it is asked for.
"""

import math
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import ml_dtypes
import numpy as np

from bertjax.errors import UserError

# The last part of a flax name, and what torch calls it.
_LEAVES = {"kernel": "weight", "embedding": "weight", "scale": "weight"}

_DEEPEST = 32  # nested modules; BERT has 8
_LONGEST_TOKEN = 1 << 16  # bytes of a name, or of an array's shape and dtype
_NDARRAY = 1  # flax's extension code

# By the names that flax writes; numpy's own parser of names is no place for a file's text.
_FLOATS = (np.float64, np.float32, np.float16, ml_dtypes.bfloat16)
_INTEGERS = (np.int64, np.int32, np.int16, np.int8, np.uint64, np.uint32, np.uint16, np.uint8)
_DTYPES = {np.dtype(kind).name: np.dtype(kind) for kind in (*_FLOATS, *_INTEGERS, np.bool_)}

# First byte of a msgpack value: how many bytes give its length (0: the length itself follows).
_EXTENSIONS = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_FIXED_EXTENSIONS = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_BINARIES = {0xC4: 1, 0xC5: 2, 0xC6: 4}


class _Array(NamedTuple):
    """Where an array's bytes lie in the file, and what they are, in flax's layout."""

    start: int
    dtype: np.dtype
    shape: tuple[int, ...]
    kernel: bool


class FlaxMsgpackReader:
    """The tensors of one flax checkpoint, each read from disk when it is asked for.

    Raises:
        UserError: the file is absent, truncated, or not a flax checkpoint.
    """

    def __init__(self, path: str | Path) -> None:
        from msgpack.exceptions import UnpackException

        self.path = Path(path)
        self._arrays: dict[str, _Array] = {}
        try:
            with self.path.open("rb") as file:
                end = self._walk(file, 0, ())
                if end != self.path.stat().st_size:
                    raise ValueError("bytes follow the end of the map")
        except (OSError, ValueError, TypeError, OverflowError, UnpackException) as error:
            raise UserError(
                f"{self.path} cannot be read as a flax checkpoint: "
                f"{' '.join(str(error).split()) or type(error).__name__}; if the file is truncated "
                "or damaged, download or copy it again"
            ) from error

    def names(self) -> list[str]:
        """Names of the tensors as torch has them, in the file's order."""
        return list(self._arrays)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor in torch's layout. UserError: no such tensor."""
        array = self._array(name)
        return array.shape[::-1] if array.kernel else array.shape

    def read(self, name: str) -> np.ndarray:
        """One tensor in torch's layout, C-contiguous, in memory of its own.

        Raises:
            UserError: no such tensor, or the file became shorter since it was opened.
        """
        start, dtype, shape, kernel = self._array(name)
        value = np.empty(shape, dtype)
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                found = file.readinto(value.reshape(-1).view(np.uint8).data)
        except OSError as error:
            raise UserError(f"{self.path} cannot be read: {error}") from error
        if found != value.nbytes:
            raise UserError(f"{self.path} ends inside tensor {name!r}; copy the file again")
        return np.asarray(value.T, order="C") if kernel else value

    def _array(self, name: str) -> _Array:
        if name not in self._arrays:
            raise UserError(f"{self.path} holds no tensor {name!r}")
        return self._arrays[name]

    def _walk(self, file: BinaryIO, position: int, parents: tuple[str, ...]) -> int:
        """Note the arrays of the map that starts at `position`; where the map ends."""
        if len(parents) > _DEEPEST:
            raise ValueError(f"modules are nested more than {_DEEPEST} deep")
        entries, position = _token(file, position, "read_map_header")
        for _ in range(entries):
            key, position = _token(file, position, "unpack")
            if not isinstance(key, str):
                raise ValueError("a map has a key that is not text")
            if key == "__msgpack_chunked_array__":
                raise ValueError("an array of more than 1 GiB, cut into parts, is not supported")
            length, content = _length(file, position, _EXTENSIONS | _FIXED_EXTENSIONS)
            if length is None:
                inside = () if (*parents, key) == ("params",) else (*parents, key)
                position = self._walk(file, position, inside)
                continue
            name = ".".join((*parents, _LEAVES.get(key, key)))
            if name in self._arrays:
                raise ValueError(f"tensor {name!r} is there twice")
            position = content + 1 + length
            self._arrays[name] = _describe(file, content, position, key == "kernel")
        return position


def _token(file: BinaryIO, position: int, kind: str) -> tuple[Any, int]:
    """One msgpack token at `position`, and where the next one starts."""
    import msgpack

    file.seek(position)
    unpacker: Any = msgpack.Unpacker(file, read_size=512, max_buffer_size=_LONGEST_TOKEN)
    return getattr(unpacker, kind)(), position + unpacker.tell()


def _length(file: BinaryIO, position: int, kinds: dict[int, int]) -> tuple[int | None, int]:
    """Length in bytes of the value at `position`, if it is of these kinds, and where it goes on."""
    file.seek(position)
    first = file.read(5)
    if not first or first[0] not in kinds:
        return None, position
    if first[0] in _FIXED_EXTENSIONS:
        return kinds[first[0]], position + 1
    stop = 1 + kinds[first[0]]
    return int.from_bytes(first[1:stop], "big"), position + stop


def _describe(file: BinaryIO, position: int, stop: int, kernel: bool) -> _Array:
    """The array whose extension code stands at `position` and whose last byte before `stop`."""
    file.seek(position)
    if file.read(1) != bytes([_NDARRAY]):
        raise ValueError("a leaf is not an array")
    parts, position = _token(file, position + 1, "read_array_header")
    shape, position = _token(file, position, "unpack")
    dtype_name, position = _token(file, position, "unpack")
    length, start = _length(file, position, _BINARIES)
    dtype = _DTYPES.get(dtype_name) if isinstance(dtype_name, str) else None
    if dtype is None:
        raise ValueError(f"an array has dtype {ascii(dtype_name)[:40]}, which is not supported")
    if (
        parts != 3
        or not all(type(size) is int and size >= 0 for size in shape)
        or length != math.prod(shape) * dtype.itemsize
        or stop != start + math.prod(shape) * dtype.itemsize
        or stop > file.seek(0, 2)
    ):
        raise ValueError("an array is truncated or damaged")
    return _Array(start, dtype, tuple(shape), kernel)
