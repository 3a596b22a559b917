"""Tensors of a checkpoint <-> parameters of a model: strict, with one report of four lists."""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from bertjax.checkpoints.files import TensorReader
from bertjax.checkpoints.names import Row, canonical_names, is_head
from bertjax.errors import UserError

Params = dict[str, dict[str, jax.Array]]  # Haiku's: module name -> parameter name -> array


@dataclass(frozen=True)
class Report:
    """What became of every tensor, by its checkpoint name."""

    loaded: tuple[str, ...]
    missing: tuple[str, ...]  # not in the file, or there for other labels: from the seed
    unexpected: tuple[str, ...]  # in the file, but not in the model: left there
    mismatched: tuple[str, ...]  # of another shape than the model's: initialised from the seed

    def __str__(self) -> str:
        lines = [f"loaded {len(self.loaded)} tensors"]
        for title, names in (
            ("initialised from the seed", self.missing),
            ("not used (not in the model)", self.unexpected),
            ("initialised from the seed (of another shape in the checkpoint)", self.mismatched),
        ):
            if names:
                lines.append(f"{title}: {', '.join(fold(names))}")
        return "; ".join(lines)


def fold(names: Sequence[str]) -> list[str]:
    """Names that differ in the number of the layer only, as one: `layer.{0..11}.output`."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for name in names:
        pattern, found = re.subn(r"\.layer\.\d+\.", ".layer.{}.", name, count=1)
        match = re.search(r"\.layer\.(\d+)\.", name)
        numbers[pattern].extend([int(match.group(1))] if found and match else [])
    return [pattern.replace("{}", _span(sorted(found))) for pattern, found in numbers.items()]


def _span(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return str(numbers[0])
    if numbers and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{{{numbers[0]}..{numbers[-1]}}}"
    return "{" + ",".join(map(str, numbers)) + "}"


def read_params(
    reader: TensorReader,
    rows: Sequence[Row],
    initialise: Callable[[Sequence[Row]], Params],
    param_dtype: str,
    allow: Sequence[str],
    fresh: Sequence[str] = (),
) -> tuple[Params, Report]:
    """The model's parameters from a file, and what became of each tensor.

    Args:
        rows: the model's tensors.
        initialise: the values, from a seed, of the rows that the file does not have.
        param_dtype: of every parameter, whatever the file's.
        allow: patterns (`classifier.*`) of names that may be missing, unexpected or mismatched
            besides those that always may: a head that is missing, and heads of other tasks.
        fresh: patterns of names that are initialised even if the file has them.

    Raises:
        UserError: a list but the first has a name that is not allowed.
    """
    stored = dict(canonical_names(reader.names()))
    sources, missing, mismatched, used = {}, [], [], set()
    for row in rows:
        names = [n for n in (row.name, *row.aliases) if n in stored]
        used.update(names)
        if not names or _matches(row.name, fresh):
            missing.append(row.name)
            continue
        found = reader.shape(stored[names[0]])
        if found == row.shape:
            sources[row] = stored[names[0]]
        else:
            mismatched.append(f"{row.name} {list(found)} for {list(row.shape)}")
    unexpected = [name for name in stored if name not in used]
    _refuse(missing, unexpected, mismatched, allow)

    params = _read(reader, sources, jnp.dtype(param_dtype))
    if len(sources) < len(rows):
        fresh_params = initialise([row for row in rows if row not in sources])
        _merge(params, jax.tree.map(lambda x: x.astype(param_dtype), fresh_params))
    report = Report(
        tuple(row.name for row in sources), tuple(missing), tuple(unexpected), tuple(mismatched)
    )
    return params, report


def initialise_rows(
    model: hk.Transformed, dummy: np.ndarray, seed: int, rows: Sequence[Row]
) -> Params:
    """These rows of `model.init(key(seed), dummy)`; compiled, so that no other is computed."""

    def init(key: jax.Array) -> Params:
        every: Any = model.init(key, dummy)
        chosen: Params = {}
        for row in rows:
            chosen.setdefault(row.module, {})[row.param] = every[row.module][row.param]
        return chosen

    return jax.jit(init)(jax.random.key(seed))


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _refuse(
    missing: Sequence[str],
    unexpected: Sequence[str],
    mismatched: Sequence[str],
    allow: Sequence[str],
) -> None:
    def refused(names: Sequence[str], heads_pass: bool) -> list[str]:
        bad = [n for n in names if not _matches(n.split(" ")[0], allow)]
        return [n for n in bad if not (heads_pass and is_head(n))]

    complaints = []
    for title, names in (
        ("missing", refused(missing, True)),
        ("unexpected", refused(unexpected, True)),
        ("of another shape than the config says", refused(mismatched, False)),
    ):
        if names:
            folded = fold(names)
            more = f" and {len(folded) - 8} more" if len(folded) > 8 else ""
            complaints.append(f"{title}: {', '.join(folded[:8])}{more}")
    if complaints:
        raise UserError(
            f"the checkpoint's tensors do not fit its config: {'; '.join(complaints)} "
            "(is it a BERT, and whole? what you mean to leave out, name in `allow`)"
        )


def _read(reader: TensorReader, sources: Mapping[Row, str], param_dtype: np.dtype) -> Params:
    """Read tensor by tensor, so that the memory needed is the parameters' and little more."""

    def put(item: tuple[Row, str]) -> tuple[Row, jax.Array]:
        row, name = item
        tensor = reader.read(name).astype(param_dtype, copy=False)
        # A transposed view: the runtime brings it into order on its one copy, faster than numpy.
        return row, jax.device_put(tensor.T if row.transposed else tensor)

    params: Params = {}
    # Two at a time: one is read from the file while another is brought into order.
    with ThreadPoolExecutor(2) as pool:
        for row, array in pool.map(put, sources.items()):
            params.setdefault(row.module, {})[row.param] = array
    return params


def _merge(params: Params, others: Params) -> None:
    for module, values in others.items():
        params.setdefault(module, {}).update(values)


def write_tensors(params: Params, rows: Sequence[Row], bare: bool) -> dict[str, np.ndarray]:
    """The checkpoint's tensors by name; `bare` leaves out the `bert.` of a bare encoder."""
    tensors = {}
    for row in rows:
        value = np.asarray(params[row.module][row.param])
        value = np.ascontiguousarray(value.T) if row.transposed else value
        for name in (row.name, *row.copies):
            tensors[name.removeprefix("bert.") if bare else name] = value
    return tensors
