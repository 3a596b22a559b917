"""The tables of `benchmarks.inference` that are its own: many texts, and one text."""

from collections.abc import Sequence

from benchmarks.records import megabytes, print_table, ratio
from benchmarks.speed import Compared, Record, by_side, median_of, share_of_peak, spread

LEAST_AGREEMENT = 0.995  # of classes with torch's in float32, for int8 to count


def counted(records: Sequence[Record]) -> list[Record]:
    """The records without those of int8 that changes more classes than it may."""
    return [r for r in records if r["precision"] != "int8" or r["agreement"] >= LEAST_AGREEMENT]


def print_texts(title: str, records: Sequence[Record]) -> None:
    columns = ("", "", "median", "by process", "texts a second")
    columns += (*Compared(records, "call_s").columns(), "of peak", "batch")
    columns += ("agrees with torch", "peak memory")
    print_table(title, columns, texts_rows(records))
    if len(counted(records)) < len(records):
        print(f"int8 does not count: fewer than {LEAST_AGREEMENT:.1%} of its classes agree\n")


def texts_rows(records: Sequence[Record]) -> list[list[str]]:
    """A row a side; the arithmetic of its share of the peak is that of real tokens."""
    compared = Compared(records, "call_s")
    rows = []
    for (who, precision), own in by_side(records).items():
        seconds = median_of(own, "call_s")
        cells = compared.cells(seconds, precision)
        share = median_of(own, "flops") / seconds / median_of(own, "matmul_flops")
        batches = sorted({batching_of(r) for r in own})
        rows.append(
            [
                who,
                precision,
                f"{seconds:.2f} s",
                spread(own, "call_s", 1.0, 2),
                f"{own[0]['texts'] / seconds:,.0f}",
                *(cells if counted(own) == own else ["-"] * len(cells)),
                share_of_peak(share, precision),
                ", ".join(batches),
                f"{min(r['agreement'] for r in own):.2%}",
                megabytes(median_of(own, "peak_bytes")),
            ]
        )
    return rows


def batching_of(record: Record) -> str:
    """For a cell: texts a batch, and how many batches at a time."""
    if record["batch_size"] is None:
        return "packed"
    streams = record["streams"]
    return f"{record['batch_size']}" + (f", {streams} at a time" if streams > 1 else "")


def print_one_text(title: str, records: Sequence[Record]) -> None:
    columns = ("", "", "tokens p50", "p99", "text p50", "p99", "text / tokens")
    for key, what in (("tokens_p50_s", "tokens"), ("text_p50_s", "text")):
        first, *more = Compared(records, key).columns()
        columns += (f"{what}: {first}", *more)
    columns += ("peak memory",)
    print_table(title, columns, one_text_rows(records))


def one_text_rows(records: Sequence[Record]) -> list[list[str]]:
    """A row a side: the median over its processes of each percentile."""
    keys = ("tokens_p50_s", "tokens_p99_s", "text_p50_s", "text_p99_s")
    tokens, text = Compared(records, "tokens_p50_s"), Compared(records, "text_p50_s")
    rows = []
    for (who, precision), own in by_side(records).items():
        values = [median_of(own, key) for key in keys]
        rows.append(
            [
                who,
                precision,
                *(f"{value * 1e3:.2f} ms" for value in values),
                ratio(values[2], values[0]),
                *tokens.cells(values[0], precision),
                *text.cells(values[2], precision),
                megabytes(median_of(own, "peak_bytes")),
            ]
        )
    return rows
