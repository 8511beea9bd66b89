"""A secret that is replaced while a process lives is met by the next hop."""

import json

import pytest

from notifier.gateway.secrets import BadSecret, Secrets


class Store:
    """Secrets Manager with one secret."""

    def __init__(self, text: str) -> None:
        self.text = text

    def get_secret_value(self, SecretId: str) -> dict[str, str]:  # noqa: N803 - boto3's name
        return {"SecretString": self.text}


def test_an_unchanged_secret_is_not_news() -> None:
    """The same values: credentials, and Apple's provider token, are kept."""
    secrets = Secrets(Store(json.dumps({"key": "a"})))
    secrets.read("apns", "arn")
    assert secrets.look_again() == frozenset()


def test_a_replaced_secret_is_told_and_used() -> None:
    """Its name is told, and the next reader has the new one."""
    store = Store(json.dumps({"key": "a"}))
    secrets = Secrets(store)
    secrets.read("apns", "arn")
    store.text = json.dumps({"key": "b"})
    assert secrets.look_again() == frozenset({"apns"})
    assert secrets.read("apns", "arn").text("key") == "b"


def test_a_spoiled_secret_is_told_when_it_is_read() -> None:
    """Looking again raises nothing; whoever needs it learns why it is no good."""
    store = Store(json.dumps({"key": "a"}))
    secrets = Secrets(store)
    secrets.read("apns", "arn")
    store.text = "not JSON"
    assert secrets.look_again() == frozenset({"apns"})
    with pytest.raises(BadSecret, match="not JSON"):
        secrets.read("apns", "arn")
