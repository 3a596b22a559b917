"""Training steps of a random BERT classifier: transformers with torch, AdamW and clipping."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]  # only where peers are measured
from transformers import BertConfig, BertForSequenceClassification

from benchmarks.children.matmul import matmul_flops_torch
from benchmarks.children.result import read_settings, write_result
from benchmarks.children.step_texts import make_texts
from benchmarks.children.timing import preparing, time_calls, time_steps, timing
from benchmarks.memory import peak_resident_bytes
from bertjax.process import keep_memory


def main() -> None:
    settings = read_settings()
    if settings.get("memory") == "kept":
        keep_memory()
    lock = settings.get("lock")
    on_gpu = torch.cuda.is_available()

    def wait(_) -> None:
        if on_gpu:
            torch.cuda.synchronize()

    with preparing(lock):
        step = _prepare(settings, "cuda" if on_gpu else "cpu")
        first, _ = time_calls(lambda: wait(step()), 0, warm_up=1)
    seconds = time_steps(step, wait, settings["repeats"], settings.get("together", 1), lock)
    peak_bytes = torch.cuda.max_memory_allocated() if on_gpu else peak_resident_bytes()
    name = torch.cuda.get_device_name() if on_gpu else "cpu"
    result = {"first_s": first, "call_s": seconds, "rows": settings["texts"]}
    result |= {"peak_bytes": peak_bytes, "device": name}
    with timing(lock):
        write_result(result | {"matmul_flops": matmul_flops_torch(settings["precision"])})


def _prepare(settings: dict[str, Any], device: str) -> Callable[[], None]:
    """A training step; a text a row, padded."""
    torch.set_num_threads(settings["threads"])
    torch.manual_seed(0)
    config = BertConfig(**settings["sizes"])
    model = BertForSequenceClassification(config).train().to(device)
    texts, length = make_texts(settings), settings["length"]
    ids = np.stack([np.pad(text, (0, length - len(text))) for text in texts])
    mask = np.stack([np.arange(length) < len(text) for text in texts])
    ids = torch.from_numpy(ids).long().to(device)
    # Where there is no padding a GPU's attention is faster without a mask.
    unmasked = device == "cuda" and mask.all()
    mask = None if unmasked else torch.from_numpy(mask).long().to(device)
    labels = torch.randint(0, 2, (len(texts),), device=device)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-4, weight_decay=0.01, fused=True)
    bfloat16 = settings["precision"] == "bfloat16"

    def loss_of(ids, mask, labels):
        with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
            return model(input_ids=ids, attention_mask=mask, labels=labels).loss

    if settings["compile"]:
        loss_of = torch.compile(loss_of)

    def step() -> None:
        optimizer.zero_grad()
        loss_of(ids, mask, labels).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


if __name__ == "__main__":
    main()
