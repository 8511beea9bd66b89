"""One check of a stack: what was found, and what mends it."""

from collections.abc import Callable, Iterator

import msgspec
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError

SLOWER = frozenset(
    {"RequestLimitExceeded", "SlowDown", "Throttling", "ThrottlingException", "TooManyRequestsException"}
)
FORBIDDEN = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
STRANGERS = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "InvalidSignatureException"}
    | {"SignatureDoesNotMatch", "UnrecognizedClientException"}
)
WHO = "aws sts get-caller-identity says who you are"


class Check(msgspec.Struct, frozen=True):
    """One check. `fine` None: there is nothing to check."""

    name: str
    fine: bool | None
    told: str
    mend: str = ""


def guarded(name: str, checks: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """AWS may not allow one check: the others are done all the same."""
    try:
        yield from checks()
    except (ClientError, BotoCoreError) as error:
        yield Check(name, False, str(error), mend_of(error))


def mend_of(error: ClientError | BotoCoreError, otherwise: str = WHO) -> str:
    """What to do about a call that AWS did not answer as it was meant."""
    if isinstance(error, EndpointConnectionError):
        return "is the way out open (TCP 443), and is there this service in the region?"
    if not isinstance(error, ClientError):
        return "check AWS_PROFILE, AWS_REGION and AWS_ENDPOINT_URL"
    code = error.response["Error"]["Code"]
    if code in SLOWER:
        return "AWS wants it slower: try again in a minute"
    if code in FORBIDDEN:
        return f"your own credentials may not do {error.operation_name}: have it allowed ({WHO})"
    if code in STRANGERS:
        return f"AWS does not know your credentials: sign in again ({WHO})"
    return otherwise
