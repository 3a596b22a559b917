"""The kernels as a TPU's own compiler takes them, which needs no TPU: `make tpu-compiler`."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bertjax.models.flash_attention import flash_attend

# Else it looks for the TPU that it runs on.
os.environ |= {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost"}
os.environ |= {"TPU_ACCELERATOR_TYPE": "v5litepod-4", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}


def compiled(topology: str, shape: tuple[int, ...], precision: str, devices: int = 1):
    """Attention with dropout, and its gradient, of features [B, T, 3 N K]; `shape`: B, T, N, K."""
    rows, tokens, heads, width = shape
    found = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices[:devices]
    by_rows = NamedSharding(Mesh(np.array(found), ("data",)), PartitionSpec("data"))

    def total(features, ids):
        parts = features.reshape(*ids.shape, 3, heads, width)
        attended = flash_attend(parts, ids, 0.1, jax.random.key(0), "tpu")
        return attended.astype(jnp.float32).sum()

    features = jax.ShapeDtypeStruct((rows, tokens, 3 * heads * width), precision, sharding=by_rows)
    ids = jax.ShapeDtypeStruct((rows, tokens), jnp.int32, sharding=by_rows)
    return jax.jit(jax.value_and_grad(total)).trace(features, ids).lower().compile()


def kernels(program) -> int:
    return program.as_text().count('custom_call_target="tpu_custom_call"')


@pytest.mark.parametrize(("heads", "width"), [(12, 32), (12, 64), (4, 128)])
@pytest.mark.parametrize("topology", ["v4:2x2x1", "v5e:2x2", "v6e:2x2"])
def test_kernels_are_compiled_and_no_array_around_them_is_padded(topology, heads, width):
    shape = 32, 512, heads, width  # more than fits into the memory beside the units
    program = compiled(topology, shape, "bfloat16")
    assert kernels(program) == 2  # both ways
    # Features and their gradient are no temporary buffers. Each of dropout's words in 128 lanes was
    # 1.9 times as much, and heads of 64 or 32 alone in 128 lanes besides 7 and 20 times.
    size = 3 * np.prod(shape) * 2
    assert program.memory_analysis().temp_size_in_bytes < 1.5 * size


@pytest.mark.parametrize(
    ("shape", "precision", "devices"),
    [
        ((8, 512, 12, 64), "bfloat16", 4),
        ((2, 2048, 12, 64), "bfloat16", 1),
        ((2, 128, 3, 32), "bfloat16", 1),  # heads that do not fill the lanes
        ((2, 330, 12, 64), "float32", 1),
    ],
)
def test_so_they_are_on_a_mesh_in_long_rows_with_few_heads_and_in_float32(
    shape, precision, devices
):
    assert kernels(compiled("v5e:2x2", shape, precision, devices)) == 2
