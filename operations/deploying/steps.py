"""The steps of a deployment. Each says what it would do, does it, and can be done again without harm."""

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from notifier.gateway.secrets import name_in
from operations.cli.errors import CommandError, ExitCode
from operations.deploying.account import Account, secret_name
from operations.deploying.answers import Answers
from operations.deploying.gateway_secrets import apns_secret, fcm_secret

GREETING = {"id": "first-push", "message": {"title": "Hello", "body": "A test push from our own stack"}}
BUILT = Path(".aws-sam/build/template.yaml")

Run = Callable[[Sequence[str]], int]
"""Runs a program in the clone's folder, its output on this terminal. Returns its exit code."""


class Step(msgspec.Struct, frozen=True):
    """One step: its name, what it would do, and what does it. `do` returns what was done, in a line."""

    name: str
    would: tuple[str, ...]
    do: Callable[[], str]


class Actions(msgspec.Struct, frozen=True):
    """What the steps act by, besides boto3: all of it is passed in."""

    run: Run
    check_setup: Callable[[], bool]
    ask_token: Callable[[], str]
    test: Callable[[Path, str], bool]


class Deployment:
    """One deployment, or its repetition.

    Args:
        root: the clone's folder.
        client: makes a boto3 client of the service that is named.

    Raises:
        CommandError: a gateway's file is not what it should be. Nothing has been done then.
    """

    def __init__(
        self, answers: Answers, account: Account, root: Path, client: Callable[[str], Any], actions: Actions
    ) -> None:
        self._answers = answers
        self._account = account
        self._root = root
        self._client = client
        self._actions = actions
        # Read and checked before the first step: a wrong file is found in a second, and not after the build.
        self._texts = _secret_texts(answers)
        self._arns = dict(account.secrets)

    def steps(self) -> tuple[Step, ...]:
        """All steps, in their order."""
        build, deploy = ["make", "build"], self._deploy_words(self._planned_arns())
        return (
            Step("secrets", tuple(self._secrets_would()), self._store_secrets),
            Step("build", (f"{' '.join(build)}: the functions for Lambda, and SAM into .tools",), self._build),
            Step("deploy", (" ".join(deploy), *self._parameters_would()), self._deploy),
            Step("setup", ("ask Google and Apple about a token that nobody has; no phone rings",), self._setup),
            Step("test", (self._test_would(),), self._test),
        )

    # -- secrets ------------------------------------------------------------------------------------------------------

    def _secrets_would(self) -> Iterable[str]:
        for gateway in ("fcm", "apns"):
            arn = self._account.secrets.get(gateway, "")
            name = name_in(arn) if arn else secret_name(self._answers.stack, gateway)
            if gateway in self._texts:
                yield f"{gateway}: {f'{name} gets a new version, where its value differs' if arn else f'make {name}'}"
            else:
                yield f"{gateway}: {f'{name} stays as it is' if arn else 'no file given, nothing is sent by it'}"

    def _secret_id(self, gateway: str) -> str:
        return self._account.secrets.get(gateway) or secret_name(self._answers.stack, gateway)

    def _store_secrets(self) -> str:
        done = []
        for gateway, text in self._texts.items():
            self._arns[gateway], what = store(self._client("secretsmanager"), self._secret_id(gateway), text)
            done.append(f"{gateway}: {what}")
        return ", ".join(done) or "nothing to do"

    # -- build and deploy ---------------------------------------------------------------------------------------------

    def _build(self) -> str:
        if self._actions.run(["make", "build"]) != 0:
            raise CommandError(ExitCode.NOT_FINE, "the build failed", "its last lines say why")
        return "built"

    def _deploy(self) -> str:
        if not (self._root / BUILT).exists():
            raise CommandError(ExitCode.NOT_FOUND, f"{BUILT} is not there", "the step build makes it")
        words = self._deploy_words(self._arns)
        if self._actions.run([*words, *self._parameter_words(self._arns)]) != 0:
            mend = "the events above say which resource failed and why; correct it, and deploy again"
            raise CommandError(ExitCode.NOT_FINE, "the deployment failed", mend)
        return f"the stack {self._answers.stack} is there"

    def _deploy_words(self, arns: Mapping[str, str]) -> list[str]:
        found = sorted(self._root.glob(".tools/sam-*/bin/sam"))
        sam = str(found[-1].relative_to(self._root)) if found else "sam"
        # Asked before the first step: a change set is not confirmed once more. Nothing to change is no failure.
        words = [sam, "deploy", "--stack-name", self._answers.stack, "--region", self._answers.region]
        return [*words, "--no-confirm-changeset", "--no-fail-on-empty-changeset"]

    def _parameter_words(self, arns: Mapping[str, str]) -> list[str]:
        found = [f"{name}={value}" for name, value in self.parameters(arns).items()]
        return ["--parameter-overrides", *found] if found else []

    def _parameters_would(self) -> list[str]:
        found = self.parameters(self._planned_arns())
        return [f"{name} = {value}" for name, value in found.items()] + [
            "every other parameter: as it is, or its default"
        ]

    def parameters(self, arns: Mapping[str, str]) -> dict[str, str]:
        """Parameters that are given. All others keep their value, or their default in a new stack."""
        answers = self._answers
        given = {
            "FcmSecretArn": arns.get("fcm", ""),
            "ApnsSecretArn": arns.get("apns", ""),
            "Mode": answers.mode,
            "MailFrom": answers.mail_from,
            "Requesters": answers.requesters,
            "Approvers": answers.approvers,
        }
        more = dict(one.split("=", 1) for one in answers.parameters)
        return {name: value for name, value in given.items() if value} | more

    def _planned_arns(self) -> dict[str, str]:
        """The ARNs as far as they are known before the secrets are made."""
        made = {gateway: f"(the ARN of {secret_name(self._answers.stack, gateway)})" for gateway in self._texts}
        return made | dict(self._arns)

    # -- setup and test -----------------------------------------------------------------------------------------------

    def _setup(self) -> str:
        if not self._actions.check_setup():
            raise CommandError(ExitCode.NOT_FINE, "the stack is not ready", "do what the lines with → say")
        return "the stack is ready"

    def _test_would(self) -> str:
        return (
            "one push to the test device" if self._answers.token else "ask for a test device's token, and send one push"
        )

    def _test(self) -> str:
        token = self._answers.token or self._actions.ask_token()
        if not token:
            return "no token, no test push: notifier test FILE --token … sends one"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "first-push.json"
            # No users: a test is sent to the token that is given, and a token is nowhere written down here.
            path.write_text(json.dumps({"campaign": GREETING, "users": []}), encoding="utf-8")
            if not self._actions.test(path, token):
                raise CommandError(ExitCode.NOT_FINE, "the test push was not accepted", "the reason is in the table")
        return "accepted"


def _secret_texts(answers: Answers) -> dict[str, str]:
    texts = {}
    if answers.fcm_file:
        texts["fcm"] = fcm_secret(answers.fcm_file)
    if answers.p8_file:
        texts["apns"] = apns_secret(answers.p8_file, answers.key_id, answers.team_id, answers.topic)
    return texts


def store(client: Any, name: str, text: str) -> tuple[str, str]:
    """Make a secret, or give it a new version where its value differs. Returns its ARN, and what was done."""
    try:
        found = client.get_secret_value(SecretId=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        return _make(client, name, text)
    if found.get("SecretString") == text:
        return str(found["ARN"]), "as it was"
    return str(client.put_secret_value(SecretId=name, SecretString=text)["ARN"]), "a new version"


def _make(client: Any, name: str, text: str) -> tuple[str, str]:
    try:
        made = client.create_secret(Name=name, Description="A key of Notifier's", SecretString=text)
    except ClientError as error:
        # It is there and has no value yet: reading it said that it is not found.
        if error.response["Error"]["Code"] != "ResourceExistsException":
            raise
        return str(client.put_secret_value(SecretId=name, SecretString=text)["ARN"]), "its first version"
    return str(made["ARN"]), "made"
