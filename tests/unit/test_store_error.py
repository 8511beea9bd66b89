"""What an error of S3 or DynamoDB means, and what people read about it."""

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError

from notifier.model.store_error import in_words, refusal_code

URL = "https://b.s3.eu-central-1.amazonaws.com/rows"


def error_of(status: int, code: str, message: str = "") -> ClientError:
    """An error as botocore raises it."""
    return ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        "PutItem",
    )


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "AccessDeniedException"),
        (400, "ResourceNotFoundException"),
        (400, "UnrecognizedClientException"),
        (403, "AccessDenied"),
        (403, "InvalidAccessKeyId"),
        (301, "PermanentRedirect"),
    ],
)
def test_for_good(status: int, code: str) -> None:
    """Permissions, keys and names: no other try helps."""
    assert refusal_code(error_of(status, code)) == code


@pytest.mark.parametrize(
    "error",
    [
        error_of(400, "ProvisionedThroughputExceededException"),
        error_of(400, "ThrottlingException"),
        error_of(400, "RequestLimitExceeded"),
        error_of(400, "TransactionInProgressException"),
        error_of(404, "NoSuchKey"),
        error_of(404, "404"),
        error_of(412, "PreconditionFailed"),
        error_of(429, "TooManyRequestsException"),
        error_of(500, "InternalServerError"),
        ReadTimeoutError(endpoint_url=URL),
        ConnectTimeoutError(endpoint_url=URL),
        EndpointConnectionError(endpoint_url=URL),
        OSError("connection reset by peer"),
    ],
    ids=str,
)
def test_for_a_while(error: Exception) -> None:
    """Throttling, time-outs, conflicts, what is not there: another try may help."""
    assert refusal_code(error) is None


def test_the_status_of_head() -> None:
    """HEAD's answers have no body: the status says it."""
    assert refusal_code(error_of(403, "403", "Forbidden")) == "AccessDenied"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (error_of(400, "AccessDeniedException", "not authorized"), "AccessDeniedException: not authorized"),
        (error_of(503, "SlowDown"), "SlowDown"),
        (error_of(503, ""), "503"),
        (ReadTimeoutError(endpoint_url=URL), f'Read timeout on endpoint URL: "{URL}"'),
        (OSError(), "no answer, and no reason was given"),
    ],
)
def test_in_words(error: Exception, says: str) -> None:
    """The store's code and message, or what the network said; never a class's name."""
    assert in_words(error) == says
