"""A model compiled for a fixed set of shapes, so that no request waits for a compiler."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from threading import Event
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bertjax.data.batches import place, unpack
from bertjax.data.shapes import ROW_LENGTHS, SEGMENTS, Shape, plan_calls
from bertjax.models.compiler import compiler_options

Function = Callable[[Any, jax.Array, jax.Array], jax.Array]


class Programs:
    """A function of packed rows, one program a shape.

    R rows of T tokens, S = `SEGMENTS` texts a row at the most, C values a text.

    Args:
        function: (params, input_ids [R, T], segment_ids [R, T]) -> [R, S, C].
        params: what it takes first.
        shapes: those that it may be called with.
        hidden_size: of the model, for the cost of a shape.
        pad_token_id: fills slots without a token.
    """

    def __init__(
        self,
        function: Function,
        params: Any,
        shapes: Sequence[Shape],
        hidden_size: int,
        pad_token_id: int,
    ):
        self.shapes = list(shapes)
        self._params = params
        self._jitted = jax.jit(function, compiler_options=compiler_options())
        self._hidden_size = hidden_size
        self._pad_token_id = pad_token_id
        self._compiled: dict[Shape, Callable[..., jax.Array]] = {}
        self._only_compiled = False  # whether no other shape may be used

    def compile_enough(
        self, stop: Event | None = None, alone: AbstractContextManager | None = None
    ) -> None:
        """Compile what texts of any length can be computed with: until `compile`, with that alone.

        Args:
            stop: set to leave the rest uncompiled.
            alone: held during a call, where others may be made meanwhile.
        """
        longest = max(shape.row_length for shape in self.shapes)
        enough = [s for s in self.shapes if s.rows == 1 and s.row_length in (*ROW_LENGTHS, longest)]
        _ = self._lowerable  # by one thread
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda shape: self._compile_one(shape, stop, alone), enough))
        self._only_compiled = True

    def compile(
        self, stop: Event | None = None, alone: AbstractContextManager | None = None
    ) -> None:
        """Compile for every shape, and call each once; arguments as of `compile_enough`."""
        self.compile_enough(stop, alone)
        for shape in self.shapes:  # in this thread alone: requests have a core, at least
            self._compile_one(shape, stop, alone)

    def __call__(self, token_ids: Sequence[np.ndarray]) -> np.ndarray:
        """Arrays [T_n] of N texts -> [N, C] float32, in as many calls as cost least.

        Where `compile` was not called, a shape is compiled when it is first needed.
        """
        if not token_ids:
            raise ValueError("there must be a text at least")
        lengths = [len(ids) for ids in token_ids]
        shapes = [s for s in self.shapes if s in self._compiled or not self._only_compiled]
        # All calls are dispatched before the first is waited for.
        dispatched = []
        for shape, rows in plan_calls(lengths, shapes, self._hidden_size):
            input_ids, segment_ids, rows_of = place(
                rows, token_ids, shape, SEGMENTS, self._pad_token_id
            )
            program = self._compiled.get(shape, self._jitted)
            dispatched.append((rows_of, program(self._params, input_ids, segment_ids)))
        values = np.asarray(dispatched[0][1])
        result = np.zeros((len(token_ids), values.shape[-1]), np.float32)
        for rows_of, found in dispatched:
            unpack(np.asarray(found), rows_of, result)
        return result

    @cached_property
    def _lowerable(self) -> Any:
        if jax.default_backend() != "cpu":
            return self._jitted
        return _traced_once(self._jitted, self._params, self.shapes)

    def _compile_one(
        self, shape: Shape, stop: Event | None, alone: AbstractContextManager | None
    ) -> None:
        if shape in self._compiled or (stop and stop.is_set()):
            return
        ids = np.full(shape, self._pad_token_id, np.int32)
        arguments = (self._params, ids, np.ones(shape, np.int32))
        compiled = self._lowerable.lower(*arguments).compile()
        with alone or nullcontext():
            compiled(*arguments).block_until_ready()
        self._compiled[shape] = compiled


def _traced_once(jitted: Any, params: Any, shapes: Sequence[Shape]) -> Any:
    """The function with R and T left open: traced once, and not for each shape.

    The programs are the same, and a MiniLM's are ready in half the time. Not for GPUs and TPUs,
    where the code depends on the sizes.
    """
    lengths = [shape.row_length for shape in shapes]
    rows, tokens = jax.export.symbolic_shape(
        "rows, tokens", constraints=[f"tokens <= {max(lengths)}", f"tokens >= {min(lengths)}"]
    )
    of_row = jax.ShapeDtypeStruct((rows, tokens), jnp.int32)
    leaves = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params)
    exported = jax.export.export(jitted)(leaves, of_row, of_row)
    return jax.jit(exported.call, compiler_options=compiler_options())
