"""Time and memory of transformers' `from_pretrained`."""

import time

import transformers.models.bert.modeling_bert  # noqa: F401  both sides begin with all imports done
from transformers import AutoModelForSequenceClassification

from benchmarks.children.result import read_settings, write_result
from benchmarks.memory import peak_resident_bytes, reset_peak, resident_bytes

folder = read_settings()["folder"]
reset_peak()
before = resident_bytes()
began, cpu_began = time.perf_counter(), time.process_time()
model = AutoModelForSequenceClassification.from_pretrained(folder)
loaded = time.perf_counter()
total = sum(float(tensor.detach().numpy().sum()) for tensor in model.parameters())
read, cpu_read = time.perf_counter(), time.process_time()
write_result(
    {
        "load_s": loaded - began,
        "load_and_read_s": read - began,
        "load_and_read_cpu_s": cpu_read - cpu_began,
        "extra_peak_bytes": peak_resident_bytes() - before,
        "sum": total,
        "device": model.device.type,
    }
)
