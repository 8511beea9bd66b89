"""Which objects a request may name: those of users, and nothing else that the function may read.

The function's role also reads `state/`, `suppression/` and `batches/`, for the final cut and for lanes. A request comes
from whoever may write a batch file: without this check it could make an audience of what is kept there.
"""

import re
from collections.abc import Iterable

import msgspec

from audiences.faults import AudienceFault

AUDIENCES = "audiences/"
STANDING = "standing/"
BATCHES = "batches/"
_WILDCARDS = re.compile(r"[*?\[]")


class Rooms(msgspec.Struct, frozen=True):
    """The places that a request's names may lead to.

    Args:
        stack: the stack's bucket.
        others: buckets of the parameter AudienceBucketArns.
        is_batch_file: the request is the worker's own, and names the run's batch file, which has its users in it.
    """

    stack: str
    others: frozenset[str] = frozenset()
    is_batch_file: bool = False

    @classmethod
    def of_arns(cls, stack: str, arns: str) -> "Rooms":
        """By ARNs of buckets, with commas between them; may be empty."""
        return cls(stack, frozenset(arn.strip().rpartition(":")[2] for arn in arns.split(",") if arn.strip()))

    def check(self, bucket: str, key: str) -> None:
        """Refuse a key, prefix or glob that may lead elsewhere. Raises AudienceFault.

        S3 lists by prefix: what stands before the first wildcard decides which objects can be meant.
        """
        name = f"s3://{bucket}/{key}"
        if ".." in key.split("/"):
            raise AudienceFault(f"{name}: a key with .. between slashes is not read", "write the key without it")
        if bucket != self.stack and bucket not in self.others:
            mend = "copy the users into the stack's bucket, or name that bucket in the stack's parameter"
            raise AudienceFault(f"{name}: audiences are not taken from this bucket", f"{mend} AudienceBucketArns")
        allowed = self._prefixes(bucket)
        fixed = _WILDCARDS.split(key, maxsplit=1)[0]
        if not fixed.startswith(allowed):
            raise AudienceFault(
                f"{name}: an audience is made of objects under {_listed(allowed)} only",
                "put the users there; a glob needs that prefix before its first wildcard",
            )

    def _prefixes(self, bucket: str) -> tuple[str, ...]:
        if bucket != self.stack:
            # As the role's policy has it.
            return (AUDIENCES,)
        return (AUDIENCES, STANDING, *((BATCHES,) if self.is_batch_file else ()))


def _listed(prefixes: Iterable[str]) -> str:
    return " and ".join(prefixes)
