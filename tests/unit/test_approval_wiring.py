"""How the objects of the approval app are made: what a cold start does, and what it leaves for later."""

from collections import Counter
from datetime import UTC, datetime

from approval.app import App
from approval.config import Settings

SETTINGS = Settings(
    bucket="campaigns",
    ledger_table="ledger",
    approval_table="approval",
    control_function="control",
    audience_function="audience",
    signing_secret_arn="arn:signing",
    mail_from="push@example.com",
    requesters=(),
    approvers=(),
    webhook_secret_arn="arn:channel",
)


def test_a_cold_start_makes_one_client_of_each_service_and_asks_none() -> None:
    """Making a client takes longer than most answers; the channel's secret is read when something is posted."""
    made: Counter[str] = Counter()

    def client(service: str) -> object:
        made[service] += 1
        return object()  # without a method: whatever is asked of it fails

    App(SETTINGS, client, lambda: datetime(2026, 11, 29, tzinfo=UTC), key=b"k" * 32)
    assert made == {"dynamodb": 1, "s3": 1, "lambda": 1, "ses": 1}
