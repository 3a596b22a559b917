"""Find the weights in a checkpoint folder, and read them whatever their format."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from bertjax.checkpoints.flax_files import FlaxMsgpackReader
from bertjax.checkpoints.safetensors_files import SafetensorsReader
from bertjax.checkpoints.torch_files import TorchZipReader
from bertjax.errors import UserError


class TensorReader(Protocol):
    """Tensors under Hugging Face's torch names and in torch's layout ([out, in] for a weight)."""

    path: Path

    def names(self) -> list[str]:
        """Names of the tensors."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor, without reading it. UserError: no such tensor."""
        ...

    def read(self, name: str) -> np.ndarray:
        """One tensor in memory of its own, C-contiguous; several threads may read at a time.

        Raises:
            UserError: absent or damaged.
        """
        ...


# The file to look for, in order of preference, and what reads it (or each of its shards).
_FORMATS: dict[str, Callable[[Path], TensorReader]] = {
    "model.safetensors": SafetensorsReader,
    "model.safetensors.index.json": SafetensorsReader,
    "pytorch_model.bin": TorchZipReader,
    "pytorch_model.bin.index.json": TorchZipReader,
    "flax_model.msgpack": FlaxMsgpackReader,
}
WEIGHT_FILES = tuple(_FORMATS)
INDEX_SUFFIX = ".index.json"


def open_tensors(folder: str | Path) -> TensorReader:
    """The tensors of a checkpoint folder: of the first file of `WEIGHT_FILES` that is there.

    Raises:
        UserError: no such folder, no weights in it, or a file that cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"there is no checkpoint folder {folder}; check the path")
    for name, open_file in _FORMATS.items():
        path = folder / name
        if not path.exists():
            continue
        if name.endswith(INDEX_SUFFIX):
            return ShardedReader(path, open_file)
        _refuse_pointer(path)
        return open_file(path)
    found = sorted(path.name for path in folder.iterdir())
    listed = ", ".join(found[:20]) + (f" and {len(found) - 20} more" if len(found) > 20 else "")
    raise UserError(
        f"{folder} holds no weights: expected config.json and one of {', '.join(WEIGHT_FILES)}; "
        f"found {listed or 'nothing'}"
    )


class ShardedReader:
    """The tensors of a checkpoint cut into several files, as its index assigns them.

    Raises:
        UserError: the index is damaged, or a shard is absent, damaged or lacks a tensor.
    """

    def __init__(self, path: Path, open_file: Callable[[Path], TensorReader]) -> None:
        self.path = path
        self._shard_of = read_index(path)
        self._shards: dict[str, TensorReader] = {}
        for shard in sorted(set(self._shard_of.values())):
            if not (path.parent / shard).exists():
                raise UserError(
                    f"{path.parent / shard} is missing, which {path.name} names; copy or download "
                    "all files of the checkpoint"
                )
            _refuse_pointer(path.parent / shard)
            self._shards[shard] = open_file(path.parent / shard)
        held = {shard: set(reader.names()) for shard, reader in self._shards.items()}
        absent = sorted(name for name, shard in self._shard_of.items() if name not in held[shard])
        if absent:
            raise UserError(
                f"{path} names {len(absent)} tensors that are not in their shards, such as "
                f"{absent[0]!r} in {self._shard_of[absent[0]]}; take index and shards of one save"
            )

    def names(self) -> list[str]:
        """Names of the tensors, in the index's order."""
        return list(self._shard_of)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor. UserError: no such tensor."""
        return self._shard(name).shape(name)

    def read(self, name: str) -> np.ndarray:
        """One tensor in memory of its own, C-contiguous. UserError: absent or damaged."""
        return self._shard(name).read(name)

    def _shard(self, name: str) -> TensorReader:
        if name not in self._shard_of:
            raise UserError(f"{self.path} names no tensor {name!r}")
        return self._shards[self._shard_of[name]]


def read_index(path: Path) -> dict[str, str]:
    """Tensor name -> shard's file name, as an index file says.

    Raises:
        UserError: it is not such a file, or a shard lies outside the folder of the index.
    """
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} cannot be read as JSON: {reason}; copy the file again") from error
    shards = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(shards, dict) or not all(isinstance(shard, str) for shard in shards.values()):
        raise UserError(f"{path} has no weight_map of tensor names and file names; copy it again")
    for shard in set(shards.values()):
        # Of POSIX and of Windows: an index made elsewhere must not lead out of the folder.
        if shard in {"", ".", ".."} or any(letter in shard for letter in "/\\:\0"):
            raise UserError(f"{path} names the shard {shard!r}, expected a file beside it")
    return shards


def _refuse_pointer(path: Path) -> None:
    """UserError if Git LFS left its few lines of text in the place of the weights."""
    if not path.is_file():
        raise UserError(f"{path} is not a file; expected the weights of a checkpoint")
    with path.open("rb") as file:
        if file.read(24).startswith(b"version https://git-lfs"):
            raise UserError(f"{path} is a Git LFS pointer, not the weights; run `git lfs pull`")
