"""`notifier deploy`: its questions, its steps on a real Secrets Manager's protocol, and how it ends before its end."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from botocore.exceptions import ClientError
from typer.testing import CliRunner

from operations.cli import app
from operations.cli.deploying import _carry_out
from operations.cli.errors import CommandError
from operations.deploying.account import Account, look_at, secret_name
from operations.deploying.answers import Answers, command_of, completed
from operations.deploying.gateway_secrets import fcm_secret
from operations.deploying.steps import BUILT, Actions, Deployment, Step
from tests.contract.moto_stores import client_of, moto_server, new_name
from tests.unit.pem_samples import pem

NEW = Account("123456789012")
TOKEN = "ios:" + "ab" * 32


class NoStack:
    """CloudFormation without the stack, or with one whose parameters are given."""

    def __init__(self, parameters: dict[str, str] | None = None, status: str = "UPDATE_COMPLETE") -> None:
        self._parameters = parameters
        self._status = status

    def describe_stacks(self, **request: str) -> dict[str, Any]:
        """As AWS: an unknown stack is a ValidationError."""
        if self._parameters is None:
            missing: Any = {"Code": "ValidationError", "Message": f"{request['StackName']} does not exist"}
            raise ClientError({"Error": missing}, "DescribeStacks")
        parameters = [{"ParameterKey": k, "ParameterValue": v} for k, v in self._parameters.items()]
        return {"Stacks": [{"StackStatus": self._status, "Parameters": parameters}]}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture
def client(endpoint: str) -> Callable[[str], Any]:
    return lambda service: NoStack() if service == "cloudformation" else client_of(service, endpoint)


@pytest.fixture
def answers(tmp_path: Path) -> Answers:
    """All that a new stack needs, in files as Google and Apple give them."""
    fcm, p8 = tmp_path / "service-account.json", tmp_path / "AuthKey_ABC123DEFG.p8"
    account = {
        "project_id": "p",
        "private_key": pem("rsa"),
        "client_email": "a@p",
        "token_uri": "https://oauth2.test/t",
    }
    fcm.write_text(json.dumps(account), "utf-8")
    p8.write_text(pem("p256"), "utf-8")
    return Answers(
        stack=new_name("s")[:20], region="eu-central-1", fcm_file=fcm, p8_file=p8, key_id="ABC123DEFG",
        team_id="TEAM123456", topic="com.example.app", token=TOKEN,
    )  # fmt: skip


class Machine:
    """This machine's programs and the stack's checks, which write down what was asked of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ran: list[list[str]] = []
        self.exit_code = 0
        self.is_ready = True
        self.tested: list[str] = []

    def run(self, words: Sequence[str]) -> int:
        """`make build` leaves what SAM deploys."""
        self.ran.append(list(words))
        (self.root / BUILT).parent.mkdir(parents=True, exist_ok=True)
        (self.root / BUILT).touch()
        return self.exit_code

    def test(self, path: Path, token: str) -> bool:
        """Keep the token. The file has none."""
        assert token not in path.read_text("utf-8")
        self.tested.append(token)
        return True

    def deployment(self, answers: Answers, account: Account, client: Callable[[str], Any]) -> Deployment:
        """A deployment on this machine."""
        actions = Actions(self.run, lambda: self.is_ready, lambda: "", self.test)
        return Deployment(answers, account, self.root, client, actions)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def no_question(question: str, default: str) -> str:
    raise AssertionError(question)


def test_all_steps_once_and_again(answers: Answers, machine: Machine, client: Callable[[str], Any]) -> None:
    """Secrets are made before the stack, which gets their ARNs. The second time no secret has a new version."""
    steps = machine.deployment(answers, look_at(client, answers.stack), client).steps()
    assert [step.name for step in steps] == ["secrets", "build", "deploy", "setup", "test"]
    assert [step.do() for step in steps][:1] == ["fcm: made, apns: made"]
    secrets = client("secretsmanager")
    stored = secrets.get_secret_value(SecretId=secret_name(answers.stack, "apns"))
    assert json.loads(stored["SecretString"]) == {
        "key": pem("p256"), "key_id": "ABC123DEFG", "team_id": "TEAM123456", "topic": "com.example.app",
    }  # fmt: skip
    build, deploy = machine.ran
    assert build == ["make", "build"]
    assert deploy[:4] == ["sam", "deploy", "--stack-name", answers.stack]
    assert f"ApnsSecretArn={stored['ARN']}" in deploy
    assert not [word for word in deploy if word.startswith("Mode=")]  # its default is to rehearse
    assert machine.tested == [TOKEN]
    again = look_at(client, answers.stack)
    assert again.secrets["apns"] == stored["ARN"]
    assert machine.deployment(answers, again, client).steps()[0].do() == "fcm: as it was, apns: as it was"
    other = msgspec.structs.replace(answers, topic="com.example.other")
    assert machine.deployment(other, again, client).steps()[0].do() == "fcm: as it was, apns: a new version"


def test_a_stack_that_is_there_keeps_what_is_not_given(answers: Answers, machine: Machine, client: Any) -> None:
    """Nothing is asked for, and only what is given becomes a parameter: `--mode live` is the way to go live."""
    arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:by-hand-AbCdEf"

    def of_stack(service: str) -> Any:
        return NoStack({"FcmSecretArn": arn, "MailFrom": "a@b.c"}) if service == "cloudformation" else client(service)

    account = look_at(of_stack, answers.stack)
    assert account.secrets == {"fcm": arn}
    live = Answers(answers.stack, "eu-central-1", mode="live", parameters=("FcmPerSecond=500",))
    done = completed(live, account, None)
    found = machine.deployment(done, account, client).parameters(account.secrets)
    assert found == {"FcmSecretArn": arn, "Mode": "live", "FcmPerSecond": "500"}


def test_a_first_deployment_that_failed_has_to_be_deleted(client: Any) -> None:
    """CloudFormation would refuse each repeat: said with the command, before anything is done."""
    failed = NoStack({}, "ROLLBACK_COMPLETE")
    with pytest.raises(CommandError) as raised:
        look_at(lambda service: failed if service == "cloudformation" else client(service), "notifier")
    assert "sam delete --stack-name notifier" in raised.value.mend


def test_the_plan_shows_all_and_no_key(answers: Answers, machine: Machine, client: Any) -> None:
    """Each step says what it would do. No part of a key is in it, nor in the command that goes on."""
    steps = machine.deployment(answers, NEW, client).steps()
    text = "\n".join(line for step in steps for line in step.would) + command_of(answers)
    for words in (f"make {answers.stack}-fcm", "make build", "sam deploy --stack-name", "ApnsSecretArn = (the ARN of"):
        assert words in text
    assert not [line for kind in ("rsa", "p256") for line in pem(kind).splitlines() if line in text]
    assert TOKEN not in text
    assert machine.ran == []
    with pytest.raises(ClientError):
        client("secretsmanager").describe_secret(SecretId=f"{answers.stack}-fcm")


def test_only_what_has_no_default_is_asked_for(answers: Answers) -> None:
    """A new stack: both files, what belongs to the .p8 file, the sender, and with pages the people."""
    given = {
        "Google": str(answers.fcm_file), "Apple": f"'{answers.p8_file}'", "The key's id": "ABC123DEFG",
        "The team": "TEAM123456", "The topic": "com.example.app", "Sender": "push@example.com",
        "Who may ask": "@example.com", "Who may approve": "bob@example.com",
    }  # fmt: skip
    asked = []

    def ask(question: str, default: str) -> str:
        [answer] = [text for beginning, text in given.items() if question.startswith(beginning)]
        asked.append((question, default))
        return answer

    found = completed(Answers(answers.stack, "eu-central-1"), NEW, ask)
    assert len(asked) == len(given)
    assert dict(asked)["The key's id"] == "ABC123DEFG"  # from the file's name
    assert (found.p8_file, found.requesters, found.approvers) == (answers.p8_file, "@example.com", "bob@example.com")
    there = Account("1", {"fcm": "arn", "apns": "arn"}, {})
    assert completed(Answers("notifier", "eu-central-1"), there, no_question).fcm_file is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"project_info": {"project_id": "p"}, "client": [{"api_key": "SECRET"}]}', "(google-services.json), not a"),
        ('{"type": "authorized_user", "refresh_token": "SECRET"}', "a person's credentials of gcloud, not a service"),
        ('{"type": "external_account", "credential_source": "SECRET"}', "the settings of workload identity federation"),
        ('{"installed": {"client_secret": "SECRET"}}', "an OAuth client's secret, not a service account's key"),
        ("<plist><key>API_KEY</key><string>SECRET</string></plist>", "(GoogleService-Info.plist), not a service"),
        ("const firebaseConfig = {apiKey: 'SECRET'}", "the settings of a web app, not a service account's key"),
        ("AAAASECRET:APA91bSECRET", "a server key of FCM's old interface"),
        ("[1]", "not a JSON object"),
        ("", "not JSON"),
    ],
)
def test_another_file_of_googles_is_named(text: str, says: str, tmp_path: Path) -> None:
    """What was downloaded in place of the service account's key; nothing of it is shown."""
    path = tmp_path / "key.json"
    path.write_text(text)
    with pytest.raises(CommandError) as fault:
        fcm_secret(path)
    assert says in fault.value.problem
    assert "SECRET" not in fault.value.problem + fault.value.mend


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "no key for Google and none for Apple"),
        (["--p8-file", "AuthKey_ABC123DEFG.p8"], "give --team-id, --topic too"),
        (["--fcm-file", "x.json", "--mail-from", "push@example.com"], "who may ask, and who may approve?"),
        (["--mode", "loud"], "--mode loud"),
        (["--fcm-file", "x.json", "--key-id", "abc"], "--key-id abc: not such a value"),
        (["--fcm-file", "x.json", "--team-id", "My Team"], "--team-id My Team: not such a value"),
        (["--fcm-file", "x.json", "--topic", "My App"], "--topic My App: not such a value"),
        (["--fcm-file", "x.json", "--topic", "com.example.*"], "--topic com.example.*: not such a value"),
        (
            ["--fcm-file", "x.json", "--team-id", "TEAM123456", "--topic", "TEAM123456.com.example"],
            "begins with the team's id",
        ),
        (["--stack", "not a name"], "--stack not a name"),
        (["--parameter", "FcmPerSecond"], "not NAME=VALUE"),
        (["--only", "everything"], "--only everything: no such step"),
    ],
)
def test_without_a_terminal_what_is_missing_is_an_error(
    options: list[str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the options, and nothing was done; a plan needs no account."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    result = CliRunner().invoke(app, ["deploy", "--plan", "--region", "eu-central-1", *options], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert says in result.output


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("fcm_file", '{"project_id": "p", "private_key": "SECRETVALUE"}', "client_email is missing"),
        ("fcm_file", "SECRETVALUE", "not JSON"),
        ("p8_file", "SECRETVALUE", "key "),
    ],
)
def test_a_wrong_file_is_found_first(
    answers: Answers, machine: Machine, client: Any, tmp_path: Path, name: str, text: str, says: str
) -> None:
    """By the worker's own code: the error names file and field, shows nothing of it, and no secret was made."""
    wrong = tmp_path / "wrong"
    wrong.write_text(text, "utf-8")
    with pytest.raises(CommandError) as raised:
        machine.deployment(msgspec.structs.replace(answers, **{name: wrong}), NEW, client)
    assert says in raised.value.problem
    assert str(wrong) in raised.value.problem
    assert "SECRETVALUE" not in raised.value.problem + raised.value.mend


@pytest.mark.parametrize(
    ("problem", "raised"),
    [(CommandError(1, "the build failed"), CommandError), (KeyboardInterrupt(), KeyboardInterrupt)],  # type: ignore[arg-type]
)
def test_what_was_done_stays(
    problem: BaseException, raised: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    """A failure, or Ctrl-C: it says what is done, where it ended, and the command that goes on."""

    def fail() -> str:
        raise problem

    steps = [Step("secrets", (), lambda: "made"), Step("build", (), fail), Step("deploy", (), lambda: "never")]
    with pytest.raises(raised):
        _carry_out(steps, "notifier deploy --region eu-central-1")
    said = capsys.readouterr().err
    assert "ended in the step build; done, and it stays: secrets" in said
    assert "to go on, repeat it: notifier deploy --region eu-central-1" in said
    assert "deploy: never" not in said


def test_a_failed_program_ends_it(answers: Answers, machine: Machine, client: Any) -> None:
    """SAM or make failed: no later step is done. So it is with a stack that is not ready."""
    _, build, deploy, setup, _ = machine.deployment(answers, NEW, client).steps()
    with pytest.raises(CommandError, match="is not there"):
        deploy.do()  # before the build
    machine.exit_code = 2
    for step in (build, deploy):
        with pytest.raises(CommandError, match="failed"):
            step.do()
    machine.is_ready = False
    with pytest.raises(CommandError, match="not ready"):
        setup.do()


def test_ctrl_c_is_no_error_of_ours() -> None:
    """The command's exit code is that of an interruption."""
    from operations.cli.errors import reports_errors

    @reports_errors
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(typer.Exit) as end:
        interrupted()
    assert end.value.exit_code == 130
