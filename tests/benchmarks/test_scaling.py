from benchmarks.scaling import ScalingConfig, _ingestions, ingestion_rows, training_rows


def ingestion(rows, workers, seconds):
    return {
        "rows": rows,
        "workers": workers,
        "ingest_s": seconds,
        "train_rows": rows // 2,
        "plan_s": 1.0,
        "iterate_s": 0.5,
        "driver_peak_bytes": 300e6,
        "worker_peak_bytes": 800e6,
    }


def test_a_tenth_of_the_rows_is_read_by_as_many_workers():
    assert _ingestions(ScalingConfig(rows=500, workers=(1, 2))) == [(50, 2), (500, 1), (500, 2)]


def test_rates_of_ingestion_are_beside_one_worker_on_the_whole_table():
    records = [ingestion(100, 2, 2.0), ingestion(1000, 1, 10.0), ingestion(1000, 2, 6.25)]
    small, one, two = ingestion_rows(records)
    assert small == [
        *("100 rows, 2 workers", "50 rows/s", "0.50", "50 rows/s", "100 rows/s"),
        *("300 MB", "800 MB"),
    ]
    assert one[:3] == ["1,000 rows, 1 worker", "100 rows/s", "1.00"]
    assert two[:3] == ["1,000 rows, 2 workers", "160 rows/s", "1.60"]


def test_rates_of_training_are_beside_the_first():
    records = [
        {"workers": 1, "first_step_s": 30.0, "tokens_s": 1000.0, "input_wait_share": 0.0012},
        {"workers": 2, "first_step_s": 42.0, "tokens_s": 900.0, "input_wait_share": 0.0},
    ]
    assert training_rows(records) == [
        ["1 process", "30.0 s", "1,000", "1.00", "0.12%"],
        ["2 processes", "42.0 s", "900", "0.90", "0.00%"],
    ]
