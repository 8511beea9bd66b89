"""Which objects a request may name: those of users, before S3 is asked for anything."""

from typing import Any

import pytest

from audiences.faults import AudienceFault
from audiences.request import Resolver
from audiences.rooms import Rooms

ROOMS = Rooms.of_arns("stack", "arn:aws:s3:::exports,arn:aws-cn:s3:::lake")


@pytest.mark.parametrize(
    ("bucket", "key"),
    [
        ("stack", "audiences/day/"),
        ("stack", "audiences/day/*.jsonl"),
        ("stack", "audiences/**/a..b.csv"),
        ("stack", "standing/vip.parquet"),
        ("exports", "audiences/x/"),
        ("lake", "audiences/[ab].csv"),
    ],
)
def test_rooms_of_users(bucket: str, key: str) -> None:
    """Users' rooms of the stack's bucket, and `audiences/` of the buckets that the stack names."""
    ROOMS.check(bucket, key)


@pytest.mark.parametrize(
    ("bucket", "key", "problem"),
    [
        *(
            ("stack", key, "under audiences/ and standing/ only")
            for key in (
                *(
                    "state/run_id=r/campaign.json",
                    "suppression/",
                    "rows/**",
                    "dead-tokens/x",
                    "excluded/x",
                    "queries/q",
                ),
                *("batches/a.json", "*", "**/x.jsonl", "audiences", "aud*/x", "[a]udiences/x", "/audiences/x", ""),
            )
        ),
        ("stack", "audiences/../state/x", "with .."),
        ("stack", "audiences/*/../../state/", "with .."),
        ("exports", "standing/x", "under audiences/ only"),
        ("exports", "x/audiences/y", "under audiences/ only"),
        ("elsewhere", "audiences/x", "AudienceBucketArns"),
        ("", "audiences/x", "AudienceBucketArns"),
    ],
)
def test_rooms_of_others(bucket: str, key: str, problem: str) -> None:
    """The name, what is allowed, and what to do."""
    with pytest.raises(AudienceFault) as caught:
        ROOMS.check(bucket, key)
    assert problem in f"{caught.value.problem} ({caught.value.mend})"
    assert caught.value.problem.startswith(f"s3://{bucket}/{key}: ")


def test_a_batch_file_with_its_users() -> None:
    """The worker's own request may name the run's batch file, and nothing else more."""
    Rooms("stack", is_batch_file=True).check("stack", "batches/a.json")
    with pytest.raises(AudienceFault):
        Rooms("stack", is_batch_file=True).check("stack", "state/a.json")


class Unasked:
    """S3 that must not be asked."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


ELSEWHERE = "state/run_id=r/campaign.json"
GOOD = {"files": ["audiences/a"]}


@pytest.mark.parametrize(
    "request_",
    [
        {"files": [ELSEWHERE]},
        {"files": ["s3://other/audiences/x"]},
        {"parts": [{"key": ELSEWHERE}]},
        {"parts": [{"bucket": "other", "key": "audiences/x"}]},
        {"sql": "SELECT 1", "tables": {"users": [ELSEWHERE]}},
        {"sql": "SELECT 1", "tables": {"users": ["s3://stack/suppression/*"]}},
        {"any": [{"files": [ELSEWHERE]}, GOOD]},
        {"all": [{"all": [{"files": ["batches/*"]}]}], "without": [GOOD]},
        {"all": [{"files": ["dead-tokens/"]}], "without": [GOOD], "where": [{"column": "country", "is": ["DE"]}]},
    ],
)
def test_every_place_of_a_request(request_: dict[str, Any]) -> None:
    """Files, parts, tables of SQL, in any depth: refused in words before S3 answers for the role's rights."""
    with pytest.raises(AudienceFault, match=r"only|not taken from this bucket"):
        Resolver(Unasked(), "stack", "stack", 0.0, ROOMS).resolve(request_)  # type: ignore[arg-type]
