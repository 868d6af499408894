"""The built-in client against moto, an S3 server of other people."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from vfsoverlay import errors

moto_server = pytest.importorskip("moto.server")
boto3 = pytest.importorskip("boto3")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_moto_is_listed_and_read(endpoint: str, opened: Callable[..., Any]) -> None:
    """Pages, odd keys, ranges, multipart ETags, another version and a point in time are right on moto as well."""
    keys = {"key": "k", "secret": "s"}
    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
    )
    client.create_bucket(Bucket="data")
    client.put_bucket_versioning(Bucket="data", VersioningConfiguration={"Status": "Enabled"})
    names = ["p/a", "p/a/b", "p/ +%&é", "p/x//y", "p/d/", "p/~'()*!@:;=,?#[]"]
    for name in names:
        client.put_object(Bucket="data", Key=name, Body=name.encode())
    upload = client.create_multipart_upload(Bucket="data", Key="p/parts")["UploadId"]
    part = client.upload_part(Bucket="data", Key="p/parts", UploadId=upload, PartNumber=1, Body=b"12345")
    parts = {"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]}
    client.complete_multipart_upload(Bucket="data", Key="p/parts", UploadId=upload, MultipartUpload=parts)

    one = opened("s3://data/p/", endpoint_url=endpoint, region="us-east-1", storage_options=keys)
    rows = {row.key: row for row in one.rows(page_size=2)}
    assert sorted(rows) == sorted([*names, "p/parts"])
    assert all(one.read(rows[name]) == name.encode() for name in names)
    assert rows["p/parts"].etag.endswith("-1")
    assert one.read(rows["p/parts"], 1, 3) == b"23"

    client.put_object(Bucket="data", Key="p/a", Body=b"new")
    with pytest.raises(errors.StaleObject):
        one.read(rows["p/a"])
    client.close()
