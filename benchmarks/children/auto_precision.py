"""Which precision bertjax's `auto` stands for on this machine."""

from benchmarks.children.result import write_result
from bertjax.models.precision import resolve_precision

write_result({"precision": resolve_precision("auto")})
