"""The tables of `benchmarks.inference` that are its own: many texts, and one text."""

from collections.abc import Sequence

from benchmarks.records import megabytes, print_table, ratio
from benchmarks.speed import Record, by_side, median_of, ours_median, times_ours

LEAST_AGREEMENT = 0.995  # of classes with torch's in float32, for int8 to count


def counted(records: Sequence[Record]) -> list[Record]:
    """The records without those of int8 that changes more classes than it may."""
    return [r for r in records if r["precision"] != "int8" or r["agreement"] >= LEAST_AGREEMENT]


def print_texts(title: str, records: Sequence[Record]) -> None:
    columns = ("", "", "median", "texts a second", "ours is faster", "of peak", "first pass")
    columns += ("batch", "agrees with torch", "peak memory")
    print_table(title, columns, texts_rows(records))
    if len(counted(records)) < len(records):
        print(f"int8 does not count: fewer than {LEAST_AGREEMENT:.1%} of its classes agree\n")


def texts_rows(records: Sequence[Record]) -> list[list[str]]:
    """A row a side; the arithmetic of its share of the peak is that of real tokens."""
    ours = ours_median(records, "call_s")
    rows = []
    for (who, precision), own in by_side(records).items():
        seconds = median_of(own, "call_s")
        share = median_of(own, "flops") / seconds / median_of(own, "matmul_flops")
        sizes = sorted({str(r["batch_size"] or "packed") for r in own})
        rows.append(
            [
                who,
                precision,
                f"{seconds:.2f} s",
                f"{own[0]['texts'] / seconds:,.0f}",
                times_ours(seconds, ours) if counted(own) == own else "-",
                f"{share:.0%}",
                f"{median_of(own, 'first_s'):.2f} s",
                ", ".join(sizes),
                f"{min(r['agreement'] for r in own):.2%}",
                megabytes(median_of(own, "peak_bytes")),
            ]
        )
    return rows


def print_one_text(title: str, records: Sequence[Record]) -> None:
    columns = ("", "", "tokens p50", "p99", "text p50", "p99", "text / tokens")
    columns += ("ours is faster: tokens", "text", "peak memory")
    print_table(title, columns, one_text_rows(records))


def one_text_rows(records: Sequence[Record]) -> list[list[str]]:
    """A row a side: the median over its processes of each percentile."""
    keys = ("tokens_p50_s", "tokens_p99_s", "text_p50_s", "text_p99_s")
    ours = [ours_median(records, key) for key in keys]
    rows = []
    for (who, precision), own in by_side(records).items():
        values = [median_of(own, key) for key in keys]
        rows.append(
            [
                who,
                precision,
                *(f"{value * 1e3:.2f} ms" for value in values),
                ratio(values[2], values[0]),
                times_ours(values[0], ours[0]),
                times_ours(values[2], ours[2]),
                megabytes(median_of(own, "peak_bytes")),
            ]
        )
    return rows
