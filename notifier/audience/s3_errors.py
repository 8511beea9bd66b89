"""What S3's answers mean to an audience: gone, denied until something outside the file changes, or away for a while.

Codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#ErrorCodeList. HEAD's answers have no body,
and so no code but the status.
"""

from botocore.exceptions import ClientError

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
"""No later try finds these bytes."""
_NO_VERSION = frozenset({"NoSuchVersion", "InvalidArgument", "400"})
"""What S3 says of a version id that it did not give, or that it cannot read. The last is HEAD's."""

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
"""The bytes are there, as far as we know, and S3 keeps them back until something outside the file changes.

Without the right to list the bucket a missing object is a 403 too:
https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html.
"""
WITHOUT_WORDS = frozenset({"301", "400", "403", "404", "405"})
"""What HEAD says, where a GET would say more."""


def code_of(error: ClientError) -> str:
    """S3's code; of HEAD's answers the status."""
    return str(error.response.get("Error", {}).get("Code", ""))


def read_error(error: ClientError, name: str, version_id: str | None = None) -> Exception:
    """What S3's answer means. `version_id` is the one that was asked for."""
    code, words = code_of(error), str(error.response.get("Error", {}).get("Message", ""))
    if version_id and (code == "NoSuchVersion" or (code in _NO_VERSION and "Server Side Encryption" not in words)):
        problem = f"it has no version_id {version_id!r}, or that version was deleted ({code})"
        return AudienceChanged(f"{name}: {problem}: name a version that S3 lists")
    if code in _CHANGED:
        return AudienceChanged(f"{name}: {_CHANGED[code]} ({code})")
    if code == "InvalidRequest" and "Server Side Encryption" in words:
        return AudienceDenied(f"{name}: {_SSE_C.format(code=code)}")
    if code in _DENIED:
        told = _KMS_GRANT if code == "AccessDenied" and "kms:" in words else _DENIED[code]
        return AudienceDenied(f"{name}: {told.format(code=code)}")
    return AudienceUnreachable(f"{name}: S3 answered {code or 'without a code'}")
