"""Tables and shards at an address: S3's own protocol, spoken by a server of this process."""

import shutil
from collections.abc import Iterator

import pytest
from moto.server import ThreadedMotoServer
from pyarrow.fs import FileSelector, S3FileSystem

from bertjax.cluster import ingested
from bertjax.cluster.data import ingest
from bertjax.cluster.failures import told_in_one_line
from bertjax.cluster.ingested import PARTS, Reading
from bertjax.data.shards import read_rows, windows_in_order
from bertjax.data.storage import exists, make_folder, remove_folder
from bertjax.errors import UserError

pytestmark = pytest.mark.usefixtures("store", "ray_here")  # Ray's processes begin with the address


@pytest.fixture(scope="module")
def store() -> Iterator[S3FileSystem]:
    """With an empty bucket."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", address)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "anything")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        store = S3FileSystem(endpoint_override=address, allow_bucket_creation=True)
        store.create_dir("bucket")
        yield store
    server.stop()


@pytest.fixture
def reading(table_file, packaged_folder):
    def make(data: str, folder: str) -> Reading:
        return Reading(
            data=data,
            text=("title", "description"),
            label="tag",
            clean=False,
            checkpoint=str(packaged_folder),
            max_length=64,
            folder=folder,
            vocabulary=30522,
            pad_token_id=0,
            test_size=0.2,
            validation_size=0.0,
            seed=3,
        )

    return make


def upload(store: S3FileSystem, path, place: str) -> None:
    with open(path, "rb") as source, store.open_output_stream(place) as target:
        shutil.copyfileobj(source, target)


def test_rows_go_from_a_bucket_to_a_bucket_as_from_disk_to_disk(
    store, reading, table_file, tmp_path
):
    upload(store, table_file, "bucket/tables/a.csv")
    there = reading("s3://bucket/tables", "s3://bucket/run/rows")
    found = ingest(there)
    here = ingest(reading(str(table_file), str(tmp_path / "rows")))
    assert found.fingerprint == here.fingerprint
    again = ingested.read(there)
    assert again is not None
    for name in PARTS:
        rows, expected = (
            read_rows(part.shards, windows_in_order(part.shards))
            for part in (getattr(again, name), getattr(here, name))
        )
        assert [ids.tolist() for ids in rows.ids] == [ids.tolist() for ids in expected.ids]
        assert rows.labels.tolist() == expected.labels.tolist()
    files = [file.base_name for file in store.get_file_info(FileSelector("bucket/run/rows"))]
    assert sorted(files) == ["ingested.json", "test-000000.parquet", "train-000000.parquet"]
    upload(store, table_file, "bucket/tables/a.csv")
    assert ingested.read(there) is None  # for the file is a newer one
    remove_folder("s3://bucket/run")
    assert not exists("s3://bucket/run")


def test_a_bucket_is_not_removed_with_its_last_folder(store):
    make_folder("s3://bucket/here")
    for file in store.get_file_info(FileSelector("bucket")):
        store.delete_dir(file.path)
    remove_folder("s3://bucket", only_if_empty=True)
    remove_folder("s3://bucket")
    assert exists("s3://bucket")


@pytest.mark.parametrize(
    ("data", "folder", "message"),
    [
        ("s3://bucket/nowhere", "s3://bucket/rows", "there is nothing at s3://bucket/nowhere"),
        ("s3://nowhere/tables", "s3://bucket/rows", "there is nothing at s3://nowhere/tables"),
        ("TABLE", "s3://nowhere/rows", "cannot use s3://nowhere/rows/all: "),
    ],
)
def test_a_wrong_address_is_told_in_one_line(data, folder, message, reading, table_file):
    asked = reading(data.replace("TABLE", str(table_file)), folder)
    with pytest.raises(UserError, match=message) as error, told_in_one_line("reading"):
        ingest(asked)
    assert "\n" not in str(error.value)
