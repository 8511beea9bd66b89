"""What an error of S3 means for an audience: the object changed, reading is denied, or S3 is unavailable for a while.

Codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#ErrorCodeList. An answer to HEAD has no body:
its code is the status.
"""

from botocore.exceptions import BotoCoreError, ClientError

from notifier.model.audience_faults import AudienceChanged, AudienceDenied, AudienceUnreachable

NOT_THERE = "not there, or not under this name"
_OTHER_BYTES = "other bytes than the pinned ones"
_DELETED = "this version is a delete marker: the object was deleted"
_CHANGED = {
    "404": NOT_THERE,
    "NoSuchKey": NOT_THERE,
    "NoSuchBucket": "there is no such bucket",
    "405": _DELETED,
    "MethodNotAllowed": _DELETED,
    "412": _OTHER_BYTES,
    "PreconditionFailed": _OTHER_BYTES,
    "416": _OTHER_BYTES,
    "InvalidRange": _OTHER_BYTES,
    "InvalidBucketName": "no bucket can have this name",
    "KeyTooLongError": "no object can have a key this long",
}
"""No later attempt finds these bytes."""
_NO_VERSION = frozenset({"NoSuchVersion", "InvalidArgument", "400"})
"""S3's codes for a version id that it did not give out, or cannot parse. `400` is HEAD's."""

_GRANTS = (
    "not there, or the reader's role may not read it ({code}): in the stack's own bucket it may read batches/ and "
    "audiences/; name another bucket in the stack's parameter AudienceBucketArns (its keys begin with audiences/), and "
    "a KMS key that encrypts the object in KmsKeyArns; a bucket of another account has to allow the role too"
)
_KMS_GRANT = (
    "the KMS key that encrypts it may not be used by the reader's role ({code}): name the key in the stack's parameter "
    "KmsKeyArns; the key's own policy has to allow the role too"
)
_REGION = "its bucket is in another region ({code}): copy it to a bucket in the stack's region"
ARCHIVED = "it is archived ({code}): restore it first, with aws s3api restore-object, or copy it to another class"
_KMS_OFF = "the KMS key that encrypts it is disabled or deleted ({code}): enable it"
_SSE_C = "it is encrypted with a key that S3 does not keep ({code}): upload it with SSE-S3 or SSE-KMS"
_DENIED = {
    "403": _GRANTS,
    "AccessDenied": _GRANTS,
    "AllAccessDisabled": _GRANTS,
    "301": _REGION,
    "PermanentRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "InvalidObjectState": ARCHIVED,
    "KMS.DisabledException": _KMS_OFF,
    "KMS.KMSInvalidStateException": _KMS_OFF,
    "KMS.NotFoundException": _KMS_OFF,
}
"""S3 refuses to read the object until an operator changes a permission, a key or the object's place.

A missing object is a 403 too if the reader has no right to list the bucket:
https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html.
"""
CODES_OF_HEAD = frozenset({"301", "400", "403", "404", "405"})
"""HEAD's statuses for which a GET of the same object has a better code and a message."""


def broken_connection() -> tuple[type[Exception], ...]:
    """What a body or a connection raises when it breaks. BotoCoreError also: no credentials can be had for a moment."""
    # Where boto3 is, urllib3 is loaded. A process that reads files of its own machine starts sooner without it.
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    return (BotoCoreError, HTTPError, OSError)


def code_of(error: ClientError) -> str:
    """S3's code; the status if the request was a HEAD."""
    return str(error.response.get("Error", {}).get("Code", ""))


def fault_of(error: ClientError, name: str, version_id: str | None = None) -> Exception:
    """The exception that an error of S3 becomes: AudienceChanged, AudienceDenied or AudienceUnreachable.

    Args:
        name: of the object, as messages name it.
        version_id: the one that was asked for.
    """
    code, message = code_of(error), str(error.response.get("Error", {}).get("Message", ""))
    # An object under SSE-C is refused with the same code as an unreadable version: only the message differs.
    if version_id and (code == "NoSuchVersion" or (code in _NO_VERSION and "Server Side Encryption" not in message)):
        problem = f"it has no version_id {version_id!r}, or that version was deleted ({code})"
        return AudienceChanged(f"{name}: {problem}: name a version that S3 lists")
    if code in _CHANGED:
        return AudienceChanged(f"{name}: {_CHANGED[code]} ({code})")
    if code == "InvalidRequest" and "Server Side Encryption" in message:
        return AudienceDenied(f"{name}: {_SSE_C.format(code=code)}")
    if code in _DENIED:
        # S3 passes on KMS's refusal under its own code: the message names the action, such as kms:Decrypt.
        problem = _KMS_GRANT if code == "AccessDenied" and "kms:" in message else _DENIED[code]
        return AudienceDenied(f"{name}: {problem.format(code=code)}")
    return AudienceUnreachable(f"{name}: S3 answered {code or 'without a code'}")
