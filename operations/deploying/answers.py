"""What a person has to say before a stack can be deployed: options, and questions for what is missing."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import msgspec

from operations.cli.errors import CommandError, ExitCode
from operations.deploying.account import Account
from operations.deploying.gateway_secrets import key_id_in

STACK = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,31}")
"""A stack's name. With `-apns` it is a secret's, of which the template takes at most 38 characters."""
APPLE_ID = re.compile(r"[A-Z0-9]{10}")
"""The id of a key, or of a team."""
BUNDLE_ID = re.compile(r"(?:[A-Za-z0-9-]+\.)+[A-Za-z0-9-]+")
_TEN = "ten capital letters and digits"
MAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+")

Ask = Callable[[str, str], str]
"""Asks a person: the question, and the default, which may be empty. Returns the answer."""


class Answers(msgspec.Struct, frozen=True):
    """All that a deployment is made of. `token` is a test device's; no field holds a secret's value."""

    stack: str = "notifier"
    region: str = ""
    fcm_file: Path | None = None
    p8_file: Path | None = None
    key_id: str = ""
    team_id: str = ""
    topic: str = ""
    mail_from: str = ""
    requesters: str = ""
    approvers: str = ""
    mode: str = ""
    parameters: tuple[str, ...] = ()
    token: str = ""
    environment: str = "production"

    def options(self) -> list[str]:
        """The command line that says the same again. Without the token: it is asked for last, and is a device's."""
        default = Answers()
        words: list[str] = []
        for name in (field for field in self.__struct_fields__ if field not in ("parameters", "token")):
            value = getattr(self, name)
            if value and value != getattr(default, name):
                words += [f"--{name.replace('_', '-')}", str(value)]
        return words + [word for one in self.parameters for word in ("--parameter", one)]


def command_of(answers: Answers, *more: str) -> str:
    """What to type to go on; `more` are options that are no answers."""
    return shlex.join(["notifier", "deploy", *answers.options(), *more])


def check(answers: Answers) -> None:
    """Raises CommandError for the first answer that cannot be right."""
    for value, pattern, option, mend in (
        (answers.stack, STACK, "--stack", "letters, digits and hyphens, at most 32"),
        (answers.mail_from, MAIL, "--mail-from", "an address, as push@example.com"),
        (answers.mode, re.compile("rehearse|live"), "--mode", "rehearse, or live"),
        (answers.key_id, APPLE_ID, "--key-id", f"{_TEN}, as in the name of the file that Apple gave: AuthKey_….p8"),
        (answers.team_id, APPLE_ID, "--team-id", f"{_TEN}; developer.apple.com, Membership details"),
        (answers.topic, BUNDLE_ID, "--topic", "the app's bundle id, as com.example.app"),
    ):
        if value and not pattern.fullmatch(value):
            raise CommandError(ExitCode.USAGE, f"{option} {value}: not such a value", mend)
    if answers.team_id and answers.topic.startswith(f"{answers.team_id}."):
        mend = f"leave {answers.team_id}. out: a bundle id is without the team's"
        raise CommandError(ExitCode.USAGE, f"--topic {answers.topic}: begins with the team's id", mend)
    for one in answers.parameters:
        if not re.fullmatch(r"[A-Za-z]+=.*", one):
            raise CommandError(ExitCode.USAGE, f"--parameter {one}: not NAME=VALUE", "docs/settings.md has the names")


def completed(answers: Answers, account: Account, ask: Ask | None) -> Answers:
    """The answers with what was missing, asked for. What is in the account already is not asked for.

    Args:
        ask: None where nobody can be asked: then what has no default is an error that names the options.
    """
    if ask is not None:
        answers = _asked(answers, account, ask)
    answers = msgspec.structs.replace(answers, key_id=answers.key_id or key_id_in(answers.p8_file))
    missing = [
        f"--{name.replace('_', '-')}"
        for name in ("key_id", "team_id", "topic")
        if answers.p8_file and not getattr(answers, name)
    ]
    if missing:
        mend = "developer.apple.com: Keys has the key's id, Membership details the team's; the topic is the bundle id"
        raise CommandError(ExitCode.USAGE, f"the .p8 file alone is not enough: give {', '.join(missing)} too", mend)
    if not (answers.fcm_file or answers.p8_file or account.secrets):
        mend = "give --fcm-file FILE (Google's JSON), or --p8-file FILE --team-id … --topic … (Apple's), or both"
        raise CommandError(ExitCode.USAGE, "no key for Google and none for Apple: nothing could be sent", mend)
    if answers.mail_from and not (answers.requesters and answers.approvers):
        mend = "--requesters @example.com --approvers ann@example.com,bob@example.com"
        raise CommandError(ExitCode.USAGE, "the pages need people: who may ask, and who may approve?", mend)
    check(answers)
    return answers


def _asked(answers: Answers, account: Account, ask: Ask) -> Answers:
    given = {name: getattr(answers, name) for name in answers.__struct_fields__}
    if not given["fcm_file"] and "fcm" not in account.secrets:
        given["fcm_file"] = _path(ask("Google's service-account JSON file (Enter: nothing for FCM)", ""))
    if not given["p8_file"] and "apns" not in account.secrets:
        given["p8_file"] = _path(ask("Apple's .p8 file (Enter: nothing for APNs)", ""))
    if given["p8_file"]:
        for name, question, default in (
            ("key_id", "The key's id", key_id_in(given["p8_file"])),
            ("team_id", "The team's id (Membership details)", ""),
            ("topic", "The topic: the app's bundle id", ""),
        ):
            given[name] = given[name] or ask(question, default)
    # A stack that is there keeps its parameters: only a new one needs to know whether there are pages.
    if account.parameters is None and not given["mail_from"]:
        given["mail_from"] = ask("Sender of the approval pages' mails (Enter: no pages)", "")
    if given["mail_from"] and account.parameters is None:
        domain = "@" + str(given["mail_from"]).partition("@")[2]
        given["requesters"] = given["requesters"] or ask("Who may ask for pushes", domain)
        given["approvers"] = given["approvers"] or ask("Who may approve them (addresses get mail)", "")
    return Answers(**given)


def _path(text: str) -> Path | None:
    # As a shell would: a file that is dropped on a terminal may come in quotes.
    text = text.strip().strip("'\"")
    return Path(text).expanduser() if text else None
