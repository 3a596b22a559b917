"""The kernels as a TPU's own compiler takes them, which needs no TPU: `make tpu-compiler`."""

import os

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

from bertjax.models.flash_attention import flash_attend

# Else it looks for the TPU that it runs on.
os.environ |= {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost"}
os.environ |= {"TPU_ACCELERATOR_TYPE": "v5litepod-4", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}


@pytest.mark.parametrize("rate", [0.0, 0.1])
@pytest.mark.parametrize(("heads", "width"), [(12, 32), (12, 64), (4, 128)])
@pytest.mark.parametrize("topology", ["v4:2x2x1", "v5e:2x2", "v6e:2x2"])
def test_kernels_are_compiled_and_no_array_around_them_is_padded(topology, heads, width, rate):
    devices = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices
    on_one = SingleDeviceSharding(devices[0])

    def total(features, ids):
        parts = features.reshape(*ids.shape, 3, heads, width)
        attended = flash_attend(parts, ids, rate, jax.random.key(0), "tpu")
        return attended.astype(jnp.float32).sum()

    rows, tokens = 32, 512  # more than fits into the memory beside the units
    given = (
        jax.ShapeDtypeStruct((rows, tokens, 3 * heads * width), jnp.bfloat16, sharding=on_one),
        jax.ShapeDtypeStruct((rows, tokens), jnp.int32, sharding=on_one),
    )
    compiled = jax.jit(jax.value_and_grad(total)).trace(*given).lower().compile()
    assert compiled.as_text().count('custom_call_target="tpu_custom_call"') == 2  # both ways
    # Features and their gradient are no temporary buffers. Heads alone in their 128 lanes, or one
    # value in them, were 2 to 20 times as much.
    size = rows * tokens * 3 * heads * width * 2
    assert compiled.memory_analysis().temp_size_in_bytes < 1.5 * size
