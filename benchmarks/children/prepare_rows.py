"""What the host does with a table before the first step: tokenizing, planning and packing."""

import json
from collections import deque
from pathlib import Path
from typing import Any

from benchmarks.children.result import read_settings, write_result
from benchmarks.children.timing import time_calls
from benchmarks.memory import peak_resident_bytes
from bertjax.data.batches import packed_batches
from bertjax.data.packing import plan_packing
from bertjax.data.tokens import load_tokenizer, tokenize

BATCH_SIZE, EPOCHS, WIDTH = 32, 4, 384  # as bertjax finetune does by default


def main() -> None:
    settings = read_settings()
    texts = json.loads(Path(settings["data"]).read_text(encoding="utf-8"))[: settings["rows"]]
    tokenizer = load_tokenizer(settings["checkpoint"])
    ids = tokenize(tokenizer, texts, 512).ids
    lengths = [len(own) for own in ids]
    plan = plan_packing(lengths, BATCH_SIZE, 0, EPOCHS, WIDTH)
    result: dict[str, Any] = {"tokens": sum(lengths), "device": "cpu"}
    for key, call in (
        ("tokenize_s", lambda: tokenize(tokenizer, texts, 512)),
        ("plan_s", lambda: plan_packing(lengths, BATCH_SIZE, 0, EPOCHS, WIDTH)),
        ("pack_s", lambda: deque(packed_batches(ids, None, plan, 0, 0), maxlen=0)),
    ):
        result[key] = time_calls(call, settings["repeats"], warm_up=0)[1]
    write_result(result | {"peak_bytes": peak_resident_bytes()})


if __name__ == "__main__":
    main()
