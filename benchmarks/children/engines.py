"""The forward pass of each library, of a text classifier in a Hugging Face folder.

B texts, T tokens, C classes.
"""

import json
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.children.matmul import matmul_flops_jax, matmul_flops_torch
from benchmarks.children.result import jax_device

Forward = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""input_ids and attention_mask, int32 [B, T] -> logits, float32 [B, C]."""


def open_engine(name: str, folder: Path, precision: str, threads: int, streams: int = 1) -> Forward:
    """The forward pass of the classifier in `folder`, ready to be called.

    Args:
        streams: calls at a time, each with its part of the threads, of those of `texts`' peers.
    """
    match name:
        case "bertjax":
            import bertjax

            checkpoint = bertjax.load(folder, "text-classification", precision=precision)  # pyright: ignore[reportArgumentType]
            return bertjax_forward(checkpoint)
        case "torch" | "torch, autocast" | "torch.compile":
            return _torch(folder, precision, threads // streams, name)
        case "ONNX Runtime":
            return _onnxruntime(folder, precision, threads // streams)
        case "OpenVINO":
            return _openvino(folder, precision, threads, streams)
        case "KerasHub":
            return _keras_hub(folder, precision)
        case _:
            raise ValueError(f"there is no engine {name!r}")


def peak_flops(name: str, precision: str) -> float:
    """The rate of large products in this process: torch's for torch, JAX's for all others.

    That of float32 for int8. To be asked last: what it imports needs memory.
    """
    precision = "float32" if precision == "int8" else precision
    rate = matmul_flops_torch if name.startswith("torch") else matmul_flops_jax
    return rate(precision)


def device_of(name: str) -> str:
    """What an engine computes on."""
    return jax_device() if name in ("bertjax", "KerasHub") else "cpu"


def read_config(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


def bertjax_forward(checkpoint: Any) -> Forward:
    """`model.apply` under `jax.jit`, as the README has it for passes forward."""
    import jax

    import bertjax

    params = bertjax.round_weights(checkpoint.params, checkpoint.precision)

    @partial(jax.jit, compiler_options=bertjax.compiler_options())
    def logits(params, input_ids, attention_mask):
        return checkpoint.model.apply(params, None, input_ids, attention_mask).logits

    return lambda ids, mask: np.asarray(logits(params, ids, mask))


def _torch(folder: Path, precision: str, threads: int, name: str) -> Forward:
    """In bfloat16: weights of it, or autocast, which rounds float32 weights in each call."""
    import torch  # pyright: ignore[reportMissingImports]  # only where peers are measured
    from transformers import AutoModelForSequenceClassification

    autocast, short = name == "torch, autocast", precision == "bfloat16"
    kind = torch.bfloat16 if short and not autocast else torch.float32
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=kind).eval()
    call = torch.compile(model) if name == "torch.compile" else model

    def forward(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        torch.set_num_threads(threads)  # here, since OpenMP keeps a number for each calling thread
        inputs = (torch.from_numpy(array.astype(np.int64)) for array in (ids, mask))
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            return call(*inputs).logits.float().numpy()

    return forward


def _onnxruntime(folder: Path, precision: str, threads: int) -> Forward:
    import onnxruntime  # pyright: ignore[reportMissingImports]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    path = folder / ("int8.onnx" if precision == "int8" else "model.onnx")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def forward(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        inputs = {"input_ids": ids.astype(np.int64), "attention_mask": mask.astype(np.int64)}
        return session.run(["logits"], inputs)[0]

    return forward


def _openvino(folder: Path, precision: str, threads: int, streams: int) -> Forward:
    import openvino  # pyright: ignore[reportMissingImports]

    options = {
        "INFERENCE_PRECISION_HINT": {"bfloat16": "bf16", "float32": "f32"}[precision],
        "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": threads,
    }
    model = openvino.compile_model(folder / "openvino.xml", "CPU", options)
    own = threading.local()

    def forward(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        if not hasattr(own, "request"):  # one a thread: each is for one call at a time
            own.request = model.create_infer_request()
        inputs = {"input_ids": ids.astype(np.int64), "attention_mask": mask.astype(np.int64)}
        return own.request.infer(inputs, share_inputs=True)[0]

    return forward


def _keras_hub(folder: Path, precision: str) -> Forward:
    """Random weights of its own: the sizes are the same, and so is the time."""
    import os

    os.environ["KERAS_BACKEND"] = "jax"
    import keras  # pyright: ignore[reportMissingImports]
    import keras_hub  # pyright: ignore[reportMissingImports]

    if precision == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    config = read_config(folder)
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=config["vocab_size"],
        num_layers=config["num_hidden_layers"],
        num_heads=config["num_attention_heads"],
        hidden_dim=config["hidden_size"],
        intermediate_dim=config["intermediate_size"],
        max_sequence_length=config["max_position_embeddings"],
    )
    model = keras_hub.models.BertTextClassifier(backbone, num_classes=2, preprocessor=None)

    def forward(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        inputs = {"token_ids": ids, "padding_mask": mask, "segment_ids": np.zeros_like(ids)}
        return model.predict_on_batch(inputs)

    return forward
