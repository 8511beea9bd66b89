"""Objects got by one signed request: the same bytes and metadata as the client's, and its errors."""

from collections.abc import Iterator
from typing import Any

import pytest

from reporting.proof.direct_get import DirectGet
from tests.contract.moto_stores import client_of, new_name, server_for


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """An S3 client."""
    with server_for("s3") as endpoint:
        client = client_of("s3", endpoint)
        yield client
        client.close()


@pytest.fixture(scope="module")
def bucket(s3: Any) -> str:
    """A bucket."""
    name = new_name("direct")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return name


class Counted:
    """A client that counts what is asked of it; connections and the rest are the client's own."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def get_object(self, **given: Any) -> Any:
        """As the client."""
        self.asked += 1
        return self._client.get_object(**given)


def test_bytes_and_metadata_are_the_clients(s3: Any, bucket: str) -> None:
    """Whatever the key has in it, and without asking the client."""
    for key in ("rows/run_id=ab/batch=00000001.r1.json.gz", "a b/ü+~.json"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"\x1f\x8b some", Metadata={"account": '{"n": 1}', "Epoch": "3"})
        client = Counted(s3)
        found = DirectGet(client, bucket).get(key)
        answer = s3.get_object(Bucket=bucket, Key=key)
        assert found == (answer["Body"].read(), answer["Metadata"])
        assert client.asked == 0


def test_anything_else_is_the_clients_answer(s3: Any, bucket: str) -> None:
    """A missing object is its error; where there are no credentials to sign with, it gets the object."""
    with pytest.raises(s3.exceptions.NoSuchKey):
        DirectGet(s3, bucket).get("rows/none")
    s3.put_object(Bucket=bucket, Key="k", Body=b"body")
    client = Counted(s3)
    direct = DirectGet(client, bucket)
    direct._credentials = None
    assert direct.get("k") == (b"body", {})
    assert client.asked == 1
