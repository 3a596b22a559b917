from typing import Any

import pytest

from benchmarks import inference_table


def texts_record(who: str, precision: str, seconds: float, agreement: float) -> dict[str, Any]:
    return {
        "who": who,
        "precision": precision,
        "call_s": [seconds],
        "first_s": 2 * seconds,
        "texts": 1000,
        "flops": 1e12,
        "matmul_flops": 2e11,
        "batch_size": None if who == "bertjax" else 32,
        "streams": 1 if who == "bertjax" else 2,
        "agreement": agreement,
        "peak_bytes": 5e8,
    }


def test_a_row_of_texts_tells_rate_batches_and_agreement() -> None:
    records = [
        texts_record("bertjax", "float32", 10.0, 1.0),
        texts_record("ORT", "int8", 5.0, 0.997),
        texts_record("ORT", "int8", 5.0, 0.996),
    ]
    assert inference_table.texts_rows(records) == [
        [
            *("bertjax", "float32", "10.00 s", "10.00 to 10.00", "100", "1.00", "50%"),
            *("packed", "100.00%", "500 MB"),
        ],
        [
            *("ORT", "int8", "5.00 s", "5.00 to 5.00", "200", "0.50", "-"),
            *("32, 2 at a time", "99.60%", "500 MB"),
        ],
    ]


def test_int8_that_changes_classes_does_not_count(capsys: pytest.CaptureFixture[str]) -> None:
    records = [
        texts_record("bertjax", "float32", 10.0, 0.9),  # of float32 it is told, and it counts
        texts_record("ORT", "int8", 5.0, 0.99),
    ]
    assert inference_table.counted(records) == records[:1]
    assert inference_table.texts_rows(records)[1][5] == "-"
    inference_table.print_texts("Texts", records)
    assert "int8 does not count" in capsys.readouterr().out


def test_without_bertjax_nothing_is_compared_with_it() -> None:
    assert inference_table.texts_rows([texts_record("ORT", "int8", 5.0, 1.0)])[0][5] == "-"


def test_a_row_of_one_text_compares_with_and_without_the_tokenizer() -> None:
    def record(who: str, scale: float) -> dict[str, Any]:
        keys = ("tokens_p50_s", "tokens_p99_s", "text_p50_s", "text_p99_s")
        times = dict(zip(keys, (0.002, 0.003, 0.004, 0.005), strict=True))
        seconds = {key: value * scale for key, value in times.items()}
        return {"who": who, "precision": "float32", **seconds, "peak_bytes": 3e8}

    rows = inference_table.one_text_rows([record("bertjax", 1), record("torch", 3)])
    assert rows[0][2:] == [
        *("2.00 ms", "3.00 ms", "4.00 ms", "5.00 ms", "2.00", "1.00", "1.00", "300 MB")
    ]
    assert rows[1][2:] == [
        *("6.00 ms", "9.00 ms", "12.00 ms", "15.00 ms", "2.00", "3.00", "3.00", "300 MB")
    ]
