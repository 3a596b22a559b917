"""The rate of large products in one library, and the arithmetic of a token of a table's texts."""

from pathlib import Path

from benchmarks.children.classify_texts import arithmetic
from benchmarks.children.engines import peak_flops
from benchmarks.children.result import read_settings, write_result
from bertjax.data.sources import read_table

STEP = 3  # times the arithmetic of the pass forward: backward takes two more


def main() -> None:
    settings = read_settings()
    texts = read_table(settings["data"], settings["text"], settings["label"]).texts
    engine = settings["engine"]
    found = arithmetic(Path(settings["checkpoint"]), texts, engine)
    rate = peak_flops(engine, settings["precision"])
    write_result({"flops_a_token": STEP * found["flops"] / found["tokens"], "matmul_flops": rate})


if __name__ == "__main__":
    main()
