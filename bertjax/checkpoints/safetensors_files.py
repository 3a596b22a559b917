"""Read and write one `.safetensors` file, one tensor at a time."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import ml_dtypes  # noqa: F401  registers bfloat16 with numpy, without which BF16 cannot be read
import numpy as np

from bertjax.errors import UserError

# The safetensors dtypes that a BERT checkpoint can carry; numpy has no name for the others.
_DTYPES = frozenset(
    {"F64", "F32", "F16", "BF16", "BOOL"} | {"I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8"}
)

# transformers asks for this entry before it reads a file.
_METADATA = MappingProxyType({"format": "pt"})


class SafetensorsReader:
    """The tensors of one safetensors file, each read from disk when it is asked for.

    The file is read with pread: of mapped files every page that was touched stays resident, so
    that a whole checkpoint would stand in memory twice.

    Raises:
        UserError: the file is absent, truncated or not a safetensors file.
    """

    def __init__(self, path: str | Path) -> None:
        from safetensors import SafetensorError, safe_open

        self.path = Path(path)
        try:
            self._file: Any = safe_open(self.path, framework="np", backend="pread")
            self._names: list[str] = list(self._file.keys())
        except (SafetensorError, OSError, ValueError) as error:
            raise self._unreadable(error) from error

    def names(self) -> list[str]:
        """Names of the tensors, sorted."""
        return list(self._names)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor, from the header alone. UserError: no such tensor."""
        return tuple(self._entry(name).get_shape())

    def read(self, name: str) -> np.ndarray:
        """One tensor in memory of its own, C-contiguous.

        Raises:
            UserError: no such tensor, a dtype without a numpy name, or the file became shorter.
        """
        from safetensors import SafetensorError

        dtype = self._entry(name).get_dtype()
        if dtype not in _DTYPES:
            raise UserError(
                f"{self.path}: tensor {name!r} has dtype {dtype}, expected one of "
                f"{', '.join(sorted(_DTYPES))}; convert the checkpoint to one of these first"
            )
        try:
            return self._file.get_tensor(name)
        except (SafetensorError, OSError, ValueError) as error:
            raise self._unreadable(error) from error

    def _entry(self, name: str) -> Any:
        from safetensors import SafetensorError

        try:
            return self._file.get_slice(name)
        except SafetensorError as error:
            raise UserError(f"{self.path} holds no tensor {name!r}") from error

    def _unreadable(self, error: Exception) -> UserError:
        reason = "there is no such file" if not self.path.exists() else _one_line(error)
        return UserError(
            f"{self.path} cannot be read as safetensors: {reason}; if the file is truncated or "
            "damaged, download or copy it again"
        )


def write_safetensors(
    path: str | Path,
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] = _METADATA,
) -> None:
    """Write tensors to a safetensors file; the file at `path` is the old one or the whole new one.

    Args:
        path: where to; the folder must exist.
        tensors: arrays by name, in any memory layout.
        metadata: texts for the header.
    Raises:
        UserError: the file cannot be written there (no folder, no permission, disk full), or a
            tensor's dtype has no safetensors name. Nothing is left behind.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    path = Path(path)
    # The library writes from the arrays' addresses and takes C order for granted.
    contiguous = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            written = Path(folder, path.name)
            # An ordinary file follows the umask; what the library makes only the owner can read.
            written.touch()
            mode = written.stat().st_mode
            save_file(contiguous, written, metadata=dict(metadata))
            written.chmod(mode)
            with written.open("rb+") as file:
                os.fsync(file.fileno())
            written.replace(path)
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path} cannot be written: {_one_line(error)}; check the folder, its permissions, "
            "the space left and the tensors' dtypes"
        ) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
