"""What an error of S3 or DynamoDB means: whether another try may help, and what people read about it. No AWS needed."""

_PASSING = frozenset(
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
_PASSING_WORDS = ("Throttl", "Timeout", "TimeTooSkewed", "LimitExceeded", "ThroughputExceeded", "TooMany", "Internal")
"""Parts of codes that say that another try may help, though the status is 400: KMS, DynamoDB and S3 name them so."""
_PASSING_STATUS = frozenset({404, 408, 409, 412, 429})
"""HEAD's answers have no code but the status. 404 is not there, which `NoSuchBucket` says better."""

_PERMISSION = (
    "allow it to the worker's role in the bucket's policy; name a KMS key that encrypts the bucket in the stack's "
    "parameter KmsKeyArns, and allow the role in the key's own policy"
)
_KMS = "enable the KMS key that encrypts the bucket, and name it in the stack's parameter KmsKeyArns"
_BUCKET = "the bucket of the results is not there: deploy the stack again"


class StoreRefused(Exception):
    """A store refuses, and goes on refusing until somebody changes a permission, a key or a bucket."""


def refusal_code(error: Exception) -> str | None:
    """The store's code when another try cannot help; None for whatever passes, such as throttling and time-outs."""
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return None  # no answer at all: the network, a time-out
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = str(response.get("Error", {}).get("Code", ""))
    if not 300 <= status < 500 or code in _PASSING or any(word in code for word in _PASSING_WORDS):
        return None
    if status in _PASSING_STATUS and code != "NoSuchBucket":
        return None
    return "AccessDenied" if code in ("403", "Forbidden") else code or str(status)


def what_to_change(code: str) -> str:
    """What has to be changed before S3 takes it."""
    if code.startswith("KMS"):
        return _KMS
    return _BUCKET if code == "NoSuchBucket" else _PERMISSION


def in_words(error: Exception) -> str:
    """An error for people: the store's code and message, or what the network said. Never the name of a class."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        told = response.get("Error", {})
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", "")
        code, message = str(told.get("Code", "") or status), str(told.get("Message", ""))
        return f"{code}: {message}" if message else code
    return str(error) or "no answer, and no reason was given"
