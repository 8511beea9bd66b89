"""Google's and Apple's files as the texts of secrets, checked with the worker's own code before anything is done."""

import json
import re
from pathlib import Path

from notifier.gateway.secrets import BadSecret, Secret, parsed
from operations.cli.errors import CommandError, ExitCode

P8_NAME = re.compile(r"AuthKey_([A-Z0-9]{10})\.p8")
"""How Apple names the file of a key: by its id."""


def key_id_in(path: Path | None) -> str:
    """The key's id in the name that Apple gave the file; empty where it was renamed."""
    found = P8_NAME.fullmatch(path.name) if path else None
    return found[1] if found else ""


def fcm_secret(path: Path) -> str:
    """The service account's JSON key, as it is. Raises CommandError, which names the field and shows no value."""
    from notifier.gateway.fcm.auth import Credentials  # noqa: PLC0415 - Google's libraries, only here

    text = path.read_text(encoding="utf-8-sig", errors="replace")
    try:
        Credentials(parsed("fcm", {"SecretString": text}, str(path)))
    except BadSecret as error:
        mend = "Firebase console, Project settings, Service accounts, Generate new private key: that file as it is"
        kind = _other_file(text)
        raise CommandError(ExitCode.USAGE, f"{path}: {kind}" if kind else str(error), mend) from None
    return text


def _other_file(text: str) -> str:
    """Which other file of Google's or of an app's this is; empty if it is none that is known."""
    if "<plist" in text[:_HEAD_CHARS]:
        return "the settings of an iOS app (GoogleService-Info.plist), not a service account's key"
    if "firebaseConfig" in text or "initializeApp" in text:
        return "the settings of a web app, not a service account's key"
    if text.startswith("AAAA") and ":APA91b" in text:
        return "a server key of FCM's old interface, which Google has turned off, not a service account's key"
    try:
        found = json.loads(text)
    except ValueError:
        return ""
    if not isinstance(found, dict):
        return ""
    if "project_info" in found:
        return "the settings of an Android app (google-services.json), not a service account's key"
    if {"installed", "web"} & found.keys():
        return "an OAuth client's secret, not a service account's key"
    return _OTHER_KINDS.get(str(found.get("type")), "")


_HEAD_CHARS = 1000
_OTHER_KINDS = {
    "authorized_user": "a person's credentials of gcloud, not a service account's key",
    "external_account": "the settings of workload identity federation, not a service account's key",
}
"""By `type` of a credentials file."""


def apns_secret(path: Path, key_id: str, team_id: str, topic: str) -> str:
    """Apple's key and what belongs to it, as JSON. Raises CommandError, which names the field and shows no value."""
    from notifier.gateway.apns.auth import Credentials  # noqa: PLC0415 - cryptography, only here

    fields = {
        "key": path.read_text(encoding="utf-8-sig", errors="replace"),
        "key_id": key_id,
        "team_id": team_id,
        "topic": topic,
    }
    try:
        Credentials(Secret("apns", fields, str(path)))
    except BadSecret as error:
        mend = "developer.apple.com has the .p8 file, its key id and the team id; the topic is the app's bundle id"
        raise CommandError(ExitCode.USAGE, str(error), mend) from None
    return json.dumps(fields)
