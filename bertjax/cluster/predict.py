"""Predictions for tables of any size, on many processes: one stream from the files to the folder.

Ray Data reads files in chunks, hands them to a pool of actors that each hold a Predictor, and
brings the chunks back in their order; this process writes them, and holds a part of a file at most.
A worker that is lost is replaced, and its chunks are done again before any row of them is written.
"""

import hashlib
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from ray.data import ActorPoolStrategy, Dataset
from tqdm import tqdm

from bertjax.checkpoints.resolve import resolve
from bertjax.checkpoints.run_file import NAME, read_run_file
from bertjax.cluster.chunks import Chunk, chunks_of_table, stream_chunks
from bertjax.cluster.data import prepare_context
from bertjax.cluster.failures import told_in_one_line
from bertjax.cluster.labelled import Labeller, Starts, Task
from bertjax.cluster.output import FAILED, Output
from bertjax.cluster.resources import check_actors, environment_of
from bertjax.cluster.session import ray_session
from bertjax.cluster.sources import list_files, suffix_of
from bertjax.data.sources import SAMPLE
from bertjax.errors import UserError
from bertjax.workflows.configs import PredictConfig, WorkersConfig
from bertjax.workflows.named_run import run_folder

CHUNKS = 4  # that a worker predicts together: enough texts to be packed well
LESS = "use fewer --workers, or machines with more"  # where memory ran out
RESTARTS = 3  # of workers with nothing done in between; then the job ends


@dataclass
class Counts:
    """Rows of a job, without those that an earlier one has finished."""

    predicted: int = 0
    failed: int = 0


@dataclass(frozen=True)
class _Source:
    """The files of DATA, or one table that is read as a whole."""

    files: list[str]
    suffix: str
    names: dict[str, str]  # of the files in the output folder
    whole: bool


def predict(config: PredictConfig, say: Callable[[str], None] | None = None) -> Counts:
    """As `workflows.predict.predict` of a table, on `config.cluster.workers` processes.

    `out` is a folder; see `bertjax.cluster.output`. Its tables have the columns of `data`, then
    `file` and `row`, the place of the row in it, then those of the single process.

    Raises:
        UserError: as there; the cluster cannot be reached or has too little; workers die
            again and again; or, when all else is done, a file could not be read.
    """
    say = say or (lambda line: None)
    config.check()
    if config.text or not config.data:
        raise UserError("--workers predict a table: give --data DATA --out FOLDER")
    if config.out is None:
        raise UserError("say where the predictions of --data go: --out FOLDER")
    run = run_folder(config.run, config.tracking_uri)
    folder = resolve(run).absolute()  # workers may stand elsewhere
    columns = config.columns or read_run_file(folder).text
    source = _source(config.data, config.format, config.out)
    task = Task(str(folder), config.precision, columns, source.suffix in (".csv", ".tsv"))
    output = Output(config.out, source.names, _asked(config, task))
    output.open(config.resume, config.overwrite)
    todo = {file: output.rows_done(file) for file in source.files if not output.finished(file)}
    if len(todo) < len(source.files):
        say(f"{len(source.files) - len(todo)} of {len(source.files)} files are finished already")
    if not todo:
        return Counts()
    kept = f"; what is finished is in {config.out}, and --resume goes on from there"
    with _interruptible(kept), ray_session(config.cluster.ray_address):
        check_actors(config.cluster)
        with told_in_one_line(f"predicting {config.data}", lambda: kept, LESS):
            counts, broken = _write(_stream(config, source, task, todo), output)
    output.close()
    say(_summary(counts, config.out))
    if broken:
        more = f" (and {len(broken) - 1} more files)" if len(broken) > 1 else ""
        raise UserError(f"{broken[0]}{more}{kept}")
    return counts


def _source(data: str, format: str | None, out: Path) -> _Source:
    files = list_files(data)
    if files is None:
        suffix = Path(urlsplit(data).path).suffix.lower()
        known = {SAMPLE: ".csv"}.get(data, suffix if "://" in data else ".parquet")
        name = PurePosixPath(data).stem if "://" in data else data.replace("/", "-")
        ending = f".{format}" if format else known
        return _Source([data], known, {data: f"{name}{ending}"}, True)
    suffix = suffix_of(files, data)
    if Path(data).is_dir() and out.resolve().is_relative_to(Path(data).resolve()):
        raise UserError(f"--out {out} lies in --data {data}, and would be read too: choose another")
    names = {file: _name(file, data, format) for file in files}
    if FAILED in names.values():
        raise UserError(f"{FAILED} is the name of the list of failed rows: rename that of {data}")
    if len(set(names.values())) < len(names):
        raise UserError(f"two files of {data} would be written to one: rename one of them")
    return _Source(files, suffix, names, False)


def _name(file: str, data: str, format: str | None) -> str:
    """The path inside the folder: that inside DATA, if DATA is a folder."""
    path = PurePosixPath(urlsplit(file).path if "://" in file else file)
    root = PurePosixPath(urlsplit(data).path if "://" in data else Path(data).absolute())
    inside = path.relative_to(root) if path != root else PurePosixPath(path.name)
    return str(inside.with_suffix(f".{format}") if format else inside)


def _asked(config: PredictConfig, task: Task) -> dict[str, Any]:
    """The settings that change predictions, and what tells one model from another."""
    digest = hashlib.sha256()
    for name in ("config.json", NAME):
        path = Path(task.run) / name
        digest.update(path.read_bytes() if path.is_file() else b"")
    return {
        "--data": config.data,
        "--columns": list(task.columns),
        "--precision": task.precision,
        "--format": config.format,
        "run": digest.hexdigest(),
    }


def _stream(config: PredictConfig, source: _Source, task: Task, todo: dict[str, int]) -> Dataset:
    workers: WorkersConfig = config.cluster
    prepare_context(1)  # byte: a chunk is a block of its own
    if source.whole:
        ((file, skip),) = todo.items()
        chunks = chunks_of_table(file, task.columns, skip)
    else:
        chunks = stream_chunks(todo, source.suffix, task.columns, min(workers.workers, len(todo)))
    return chunks.map_batches(
        Labeller,
        fn_constructor_args=(task, Starts.remote(), workers.workers + RESTARTS),
        batch_size=CHUNKS,
        batch_format="pandas",
        compute=ActorPoolStrategy(size=workers.workers),
        num_cpus=1,
        num_gpus=workers.worker_gpus or None,
        runtime_env={"env_vars": environment_of(workers)},
    )


def _write(stream: Dataset, output: Output) -> tuple[Counts, list[str]]:
    """Write what the stream brings; (rows, why files could not be read)."""
    counts, broken = Counts(), []
    with (
        warnings.catch_warnings(),
        tqdm(desc="predicting", unit="row", unit_scale=True, file=sys.stderr) as bar,
    ):
        warnings.filterwarnings("ignore", module="ray.data")  # that some workers may idle
        for row in stream.iter_rows():
            chunk, failed = Chunk.unpack(row), list(filter(None, row["failed"].split("\n")))
            if chunk.error:
                broken.append(chunk.error)
                output.forget(chunk.file)
                continue
            output.add(chunk, failed)
            counts.predicted += len(chunk.table)
            counts.failed += len(failed)
            bar.update(len(chunk.table) + len(failed))
    return counts, broken


def _summary(counts: Counts, out: Path) -> str:
    failed = f"; {counts.failed} failed, see {out / FAILED}" if counts.failed else ""
    return f"predicted {counts.predicted} rows into {out}{failed}"


@contextmanager
def _interruptible(kept: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise UserError(f"interrupted{kept}") from None
