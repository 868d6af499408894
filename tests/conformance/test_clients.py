"""The same work with boto3 and with s3fs, on each server: what one writes, the other reads."""

from __future__ import annotations

from typing import Any, Protocol

import pytest

KEYS = ["top.txt", "dir/one", "dir/two", "dir/sub/three", "space and+plus/\u00fc"]


class Client(Protocol):
    """What both clients can do."""

    def put(self, bucket: str, key: str, body: bytes) -> None: ...
    def get(self, bucket: str, key: str) -> bytes: ...
    def get_range(self, bucket: str, key: str, start: int, stop: int) -> bytes: ...
    def size_and_etag(self, bucket: str, key: str) -> tuple[int, str]: ...
    def find(self, bucket: str) -> list[str]: ...
    def list_directory(self, bucket: str, prefix: str) -> list[str]: ...
    def delete(self, bucket: str, key: str) -> None: ...


class Boto3Client:
    def __init__(self, s3: Any) -> None:
        self.s3 = s3

    def put(self, bucket: str, key: str, body: bytes) -> None:
        self.s3.put_object(Bucket=bucket, Key=key, Body=body)

    def get(self, bucket: str, key: str) -> bytes:
        body: bytes = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def get_range(self, bucket: str, key: str, start: int, stop: int) -> bytes:
        body: bytes = self.s3.get_object(Bucket=bucket, Key=key, Range=f"bytes={start}-{stop - 1}")["Body"].read()
        return body

    def size_and_etag(self, bucket: str, key: str) -> tuple[int, str]:
        head = self.s3.head_object(Bucket=bucket, Key=key)
        return head["ContentLength"], head["ETag"]

    def find(self, bucket: str) -> list[str]:
        return [row["Key"] for row in self.s3.list_objects_v2(Bucket=bucket).get("Contents", [])]

    def list_directory(self, bucket: str, prefix: str) -> list[str]:
        page = self.s3.list_objects_v2(Bucket=bucket, Prefix=prefix, Delimiter="/")
        return sorted(
            [row["Key"] for row in page.get("Contents", [])]
            + [row["Prefix"].rstrip("/") for row in page.get("CommonPrefixes", [])]
        )

    def delete(self, bucket: str, key: str) -> None:
        self.s3.delete_object(Bucket=bucket, Key=key)


class S3fsClient:
    def __init__(self, endpoint: Any) -> None:
        s3fs = pytest.importorskip("s3fs")
        self.fs: Any = s3fs.S3FileSystem(
            key=endpoint.access_key,
            secret=endpoint.secret_key,
            client_kwargs={"endpoint_url": endpoint.url, "region_name": endpoint.region},
            use_listings_cache=False,
            skip_instance_cache=True,
        )

    def put(self, bucket: str, key: str, body: bytes) -> None:
        self.fs.pipe_file(f"{bucket}/{key}", body)

    def get(self, bucket: str, key: str) -> bytes:
        body: bytes = self.fs.cat_file(f"{bucket}/{key}")
        return body

    def get_range(self, bucket: str, key: str, start: int, stop: int) -> bytes:
        body: bytes = self.fs.cat_file(f"{bucket}/{key}", start=start, end=stop)
        return body

    def size_and_etag(self, bucket: str, key: str) -> tuple[int, str]:
        info = self.fs.info(f"{bucket}/{key}")
        return info["size"], info["ETag"]

    def find(self, bucket: str) -> list[str]:
        return [path.partition("/")[2] for path in self.fs.find(bucket)]

    def list_directory(self, bucket: str, prefix: str) -> list[str]:
        return sorted(path.partition("/")[2] for path in self.fs.ls(f"{bucket}/{prefix}", detail=False))

    def delete(self, bucket: str, key: str) -> None:
        self.fs.rm_file(f"{bucket}/{key}")


NAMES = ("boto3", "s3fs")


@pytest.fixture(scope="session")
def clients(endpoint: Any, s3: Any) -> dict[str, Client]:
    return {"boto3": Boto3Client(s3), "s3fs": S3fsClient(endpoint)}


@pytest.fixture(params=NAMES)
def reader(request: pytest.FixtureRequest, clients: dict[str, Client]) -> Client:
    return clients[request.param]


@pytest.fixture(params=NAMES)
def filled(request: pytest.FixtureRequest, clients: dict[str, Client], bucket: str) -> str:
    """A bucket filled by one of the clients; each object holds its key."""
    writer = clients[request.param]
    for key in KEYS:
        writer.put(bucket, key, key.encode())
    return bucket


def test_reads_what_was_written(reader: Client, filled: str) -> None:
    """Each client reads whole objects and ranges that either client wrote."""
    for key in KEYS:
        assert reader.get(filled, key) == key.encode()
        assert reader.get_range(filled, key, 1, 4) == key.encode()[1:4]


def test_names(reader: Client, filled: str) -> None:
    """Each client finds all keys, and lists one directory by its prefix."""
    assert sorted(reader.find(filled)) == sorted(KEYS)
    assert reader.list_directory(filled, "dir/") == ["dir/one", "dir/sub", "dir/two"]


def test_size_and_etag(clients: dict[str, Client], filled: str) -> None:
    """Both clients see the same size and ETag."""
    seen = {client.size_and_etag(filled, "top.txt") for client in clients.values()}
    assert len(seen) == 1
    assert seen.pop()[0] == len("top.txt")


def test_deleted_by_one_is_gone_for_the_other(clients: dict[str, Client], reader: Client, filled: str) -> None:
    """A deletion is seen at once."""
    reader.delete(filled, "dir/one")
    for client in clients.values():
        assert "dir/one" not in client.find(filled)


@pytest.mark.parametrize("size", [0, 1, 6 * 1024**2])
def test_large_and_empty_objects(clients: dict[str, Client], reader: Client, filled: str, size: int) -> None:
    """Bodies of any size pass through unharmed."""
    data = bytes(range(256)) * (size // 256) if size > 1 else b"x" * size
    reader.put(filled, "large", data)
    for client in clients.values():
        assert client.get(filled, "large") == data
