import pytest

from benchmarks import scaling
from benchmarks.scaling import ScalingConfig, _ingestions, ingestion_rows, training_rows


@pytest.mark.parametrize(("workers", "found"), [([], "none"), (["0", "2"], "0, 2")])
def test_no_workers_are_a_mistake(workers, found, capsys):
    assert scaling.main(["--workers", *workers]) == 2
    told = f"benchmarks.scaling: --workers must be 1 or more each, found {found}\n"
    assert capsys.readouterr().err == told


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
        "worker_own_peak_bytes": 500e6,
    }


def test_a_tenth_of_the_rows_is_read_by_as_many_workers():
    assert _ingestions(ScalingConfig(rows=500, workers=(1, 2))) == [(50, 2), (500, 1), (500, 2)]


def test_rates_of_ingestion_are_beside_one_worker_on_the_whole_table():
    records = [ingestion(100, 2, 2.0), ingestion(1000, 1, 10.0), ingestion(1000, 2, 6.25)]
    small, one, two = ingestion_rows(records)
    assert small == [
        *("100 rows, 2 workers", "50 rows/s", "0.50", "50 rows/s", "100 rows/s"),
        *("300 MB", "800 MB", "500 MB"),
    ]
    assert one[:3] == ["1,000 rows, 1 worker", "100 rows/s", "1.00"]
    assert two[:3] == ["1,000 rows, 2 workers", "160 rows/s", "1.60"]


def training(workers, first_step, rate, wait):
    figures = {"first_step_s": first_step, "tokens_s": rate, "input_wait_share": wait}
    return {"workers": workers, **figures}


def test_rates_of_training_are_medians_beside_those_of_one_process():
    records = [
        training(1, 30.0, 1000.0, 0.0012),
        training(2, 42.0, 900.0, 0.0),
        training(1, 90.0, 100.0, 0.5),
        training(2, 41.0, 800.0, 0.0),
        training(1, 20.0, 1100.0, 0.0011),
        training(2, 43.0, 950.0, 0.0),
    ]
    assert training_rows(records) == [
        ["1 process", "30.0 s", "1,000", "1.00", "0.12%"],
        ["2 processes", "42.0 s", "900", "0.90", "0.00%"],
    ]
