"""What an error of S3 or DynamoDB means: whether another attempt may help, and its description for people.

It looks only at the exception's `response`, so that the core need not import botocore.
"""

_TRANSIENT_CODES = frozenset(
    {
        "ConditionalRequestConflict",
        "ExpiredToken",  # the role's credentials are renewed by Lambda
        "IncompleteBody",
        "NoSuchKey",  # deleted since it was listed: the next look does not find it
        "OperationAborted",
        "PreconditionFailed",
        "ReplicatedWriteConflictException",
        "SlowDown",
        "TokenRefreshRequired",
        "TransactionInProgressException",
    }
)
_TRANSIENT_PARTS = ("Throttl", "Timeout", "TimeTooSkewed", "LimitExceeded", "ThroughputExceeded", "TooMany", "Internal")
"""Parts of codes of KMS, DynamoDB and S3 for which another attempt may help, although the status is 400."""
_TRANSIENT_STATUS = frozenset({404, 408, 409, 412, 429})
"""An answer to HEAD has no other code. A missing bucket is a 404 too, but has the code `NoSuchBucket`."""

_PERMISSION = (
    "allow it to the worker's role in the bucket's policy; name a KMS key that encrypts the bucket in the stack's "
    "parameter KmsKeyArns, and allow the role in the key's own policy"
)
_KMS = "enable the KMS key that encrypts the bucket, and name it in the stack's parameter KmsKeyArns"
_BUCKET = "the bucket of the results is not there: deploy the stack again"


class StoreRefused(Exception):
    """A store refuses until an operator changes a permission, a key or a bucket."""


def refusal_code(error: Exception) -> str | None:
    """The store's code if another attempt cannot help; None for a transient error, such as throttling or a time-out."""
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return None  # no answer at all: the network, a time-out
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = str(response.get("Error", {}).get("Code", ""))
    # A 3xx is a bucket of another region: no attempt from here reaches it.
    if not 300 <= status < 500 or code in _TRANSIENT_CODES or any(part in code for part in _TRANSIENT_PARTS):
        return None
    if status in _TRANSIENT_STATUS and code != "NoSuchBucket":
        return None
    return "AccessDenied" if code in ("403", "Forbidden") else code or str(status)


def what_to_change(code: str) -> str:
    """What an operator has to change before S3 accepts the write."""
    if code.startswith("KMS"):
        return _KMS
    return _BUCKET if code == "NoSuchBucket" else _PERMISSION


def in_words(error: Exception) -> str:
    """An error for people: the store's code and message, or the network's message. Never the name of a class."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        answer = response.get("Error", {})
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", "")
        code, message = str(answer.get("Code", "") or status), str(answer.get("Message", ""))
        return f"{code}: {message}" if message else code
    return str(error) or "no answer, and no reason was given"
