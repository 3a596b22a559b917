"""Training steps of a random BERT classifier: transformers with torch, AdamW and clipping."""

import torch  # pyright: ignore[reportMissingImports]  # only where peers are measured
from transformers import BertConfig, BertForSequenceClassification

from benchmarks.children.matmul import matmul_flops_torch
from benchmarks.children.result import read_settings, write_result
from benchmarks.children.timing import time_calls
from benchmarks.memory import peak_resident_bytes
from bertjax.process import keep_memory


def main() -> None:
    settings = read_settings()
    if settings.get("memory") == "kept":
        keep_memory()
    torch.set_num_threads(settings["threads"])
    torch.manual_seed(0)
    config = BertConfig(**settings["sizes"])
    texts, length = settings["texts"], settings["length"]
    model = BertForSequenceClassification(config).train()
    ids = torch.randint(0, config.vocab_size, (texts, length))
    mask = torch.ones_like(ids)
    labels = torch.randint(0, 2, (texts,))
    optimizer = torch.optim.AdamW(model.parameters(), 2e-4, weight_decay=0.01, fused=True)
    bfloat16 = settings["precision"] == "bfloat16"

    def loss_of(ids, mask, labels):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            return model(input_ids=ids, attention_mask=mask, labels=labels).loss

    if settings["compile"]:
        loss_of = torch.compile(loss_of)

    def step() -> None:
        optimizer.zero_grad()
        loss_of(ids, mask, labels).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    first, seconds = time_calls(step, settings["repeats"])
    result = {"first_s": first, "call_s": seconds, "peak_bytes": peak_resident_bytes()}
    write_result(result | {"matmul_flops": matmul_flops_torch(settings["precision"])})


if __name__ == "__main__":
    main()
