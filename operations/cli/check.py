"""One check of a stack: its result, and what to do about a failure."""

from collections.abc import Callable, Iterator

import msgspec
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError

THROTTLED = frozenset(
    {"RequestLimitExceeded", "SlowDown", "Throttling", "ThrottlingException", "TooManyRequestsException"}
)
FORBIDDEN = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
UNKNOWN_CREDENTIALS = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "InvalidSignatureException"}
    | {"SignatureDoesNotMatch", "UnrecognizedClientException"}
)
WHO = "aws sts get-caller-identity says who you are"


class Check(msgspec.Struct, frozen=True, rename={"finding": "told"}):
    """One check. `fine` is None where there is nothing to check. In JSON the finding is named `told`."""

    name: str
    fine: bool | None
    finding: str
    mend: str = ""


def guarded(name: str, checks: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """The checks; an error of AWS becomes a failed check, so that the checks after it are still made."""
    try:
        yield from checks()
    except (ClientError, BotoCoreError) as error:
        yield Check(name, False, str(error), mend_of(error))


def mend_of(error: ClientError | BotoCoreError, otherwise: str = WHO) -> str:
    """What to do about a call that failed; `otherwise` where the error itself does not say."""
    if isinstance(error, EndpointConnectionError):
        return "is outgoing TCP 443 allowed, and does the region have this service?"
    if not isinstance(error, ClientError):
        return "check AWS_PROFILE, AWS_REGION and AWS_ENDPOINT_URL"
    code = error.response["Error"]["Code"]
    if code in THROTTLED:
        return "AWS throttles these calls: try again in a minute"
    if code in FORBIDDEN:
        return f"your own credentials do not allow {error.operation_name}: have it allowed ({WHO})"
    if code in UNKNOWN_CREDENTIALS:
        return f"AWS does not know your credentials: sign in again ({WHO})"
    return otherwise
