"""What is deployed, as it is deployed: its size, its processor, and that it runs with Lambda's runtime alone."""

import _imp
import json
from email.parser import HeaderParser
from pathlib import Path

import pytest
from packaging.tags import Tag, compatible_tags, cpython_tags, parse_tag

from tests.deployment import artifact
from tests.deployment.artifact import Artifact, Artifacts

LIMITS_MB = {"notifier": 60, "approval": 25, "audiences": 150, "privacy": 150, "schedules": 25}
"""By the package that a function's handler is in."""
RUNTIME = artifact.template()["Globals"]["Function"]["Runtime"]
VERSION = tuple(int(part) for part in RUNTIME.removeprefix("python").split("."))
CPYTHON = f"cpython-{VERSION[0]}{VERSION[1]}"
MAGIC = {"python3.14": 3627}[RUNTIME].to_bytes(2, "little") + b"\r\n"
"""How byte code of this version begins (https://github.com/python/cpython/blob/3.14/Include/internal/pycore_magic_number.h)."""
GLIBC = 34
"""Amazon Linux 2023, on which Lambda runs this version, has glibc 2.34."""
IN_LAMBDA_ALREADY = {"boto3", "botocore", "s3transfer", "jmespath", "awscrt", "awslambdaric"}
NEVER_SHIPPED = {
    "sandbox",
    "tests",
    "moto",
    "pytest",
    "mypy",
    "pip",
    "setuptools",
    "wheel",
    "bin",
    "typer",
    "rich",
    "aiohttp",
    "pycurl",
    "curl",
}
SENDERS = {
    "pyfcm",
    "aioapns",
    "google",
    "jwt",
    "OpenSSL",
    "cryptography",
    "requests",
    "urllib3",
    "hpack",
    "ijson",
    "h2",
}

FUNCTIONS = artifact.handlers()
# The gate builds the worker's alone, for this machine: each of the others takes some five seconds of a processor.
ALL = pytest.mark.parametrize(
    "function",
    ["WorkerFunction"]
    + [
        pytest.param(function, marks=pytest.mark.slow)
        for function in ("ApprovalFunction", "AudienceFunction", "ScheduleFunction")
    ],
)

# What only some runs need is imported late, so a probe uses each library once, the way that the notifier does.
PROBE = '''
import json

def handler(event, context):
    """Uses everything that the artifact brings, from the handler's place."""
    import aioapns, ijson, liquid, msgspec, jwt
    from aws_lambda_powertools import Logger, Metrics
    from aws_xray_sdk.core import xray_recorder
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from google.oauth2 import service_account
    from notifier.gateway.http2.headers import HeaderEncoder
    from pyfcm import FCMNotification

    def pem(key):
        kind = serialization.PrivateFormat.PKCS8
        return key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()).decode()

    account = {
        "type": "service_account", "project_id": "p", "client_email": "a@example.com", "token_uri": "https://localhost/token",
        "private_key": pem(rsa.generate_private_key(65537, 2048)),
    }
    google = service_account.Credentials.from_service_account_info(account, scopes=["x"])
    apns = jwt.encode({"iss": "TEAM123456"}, pem(ec.generate_private_key(ec.SECP256R1())), "ES256")
    text = liquid.Environment().from_string("Hi {{ name | default: 'there' | capitalize }}, {{ 'now' | date: '%Y' }}")
    return {
        "text": text.render(), "assertion": google._make_authorization_grant_assertion().count(b"."),
        "apns": apns.count("."), "http2": HeaderEncoder("a").encode("/", [])[:2] == bytes((0x83, 0x87)),
        "users": list(ijson.items(b'[{"user_id": 1}]', "item")), "backend": ijson.backend_name,
        "request_id": context.aws_request_id,
    }
'''

# Everything that the approval functions import, early and late.
APPROVAL_IN_USE = """
import importlib, json, pathlib, sys, zoneinfo

folder = pathlib.Path.cwd()
for path in sorted((folder / "approval").rglob("*.py")):
    importlib.import_module(".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__"))
from approval.preview import previews
from notifier.model.campaign_reading import read_campaign
from notifier.telemetry.start import start_tracing
message = {"title": "{{ n | upcase }}", "body": "b", "translations": {"de": {"title": "Hallo"}}}
assert previews(read_campaign({"id": "x", "message": message}), {"n": "a"})
with start_tracing("127.0.0.1:2000", 100).invocation("Root=1-6920aaaa-000000000000000000000001;Sampled=1", "x"):
    pass
zoneinfo.reset_tzpath(())  # an image without time zones
zoneinfo.ZoneInfo("Europe/London")
print(json.dumps({name: module.__file__ for name, module in sys.modules.items() if getattr(module, "__file__", None)}))
"""

# The bodies of pushes of every sample file, for every arm and language, and the bytes that count against the limits.
BODIES = """
import json, sys
from notifier.model.campaign import DEFAULT_ARM
from notifier.model.campaign_reading import read_campaign
from notifier.gateway.payload import Label
from notifier.model.record_reading import read_recipient
from notifier.content.render import Renderer

def prepare(wording, label):
    if sys.argv[1] == "approval":
        from approval.preview import prepared
        return prepared(wording, label)
    from notifier.gateway.apns import message as apns
    from notifier.gateway.fcm import message as fcm
    return (
        fcm.Prepared(wording.message, wording.slots, label),
        apns.Prepared(wording.message, wording.slots, label, topic="com.example.app"),
    )

for campaign in map(read_campaign, json.loads(sys.argv[2])):
    renderer = Renderer(campaign)
    for arm in [variant.name for variant in campaign.variants] or [DEFAULT_ARM]:
        for locale in ("", *(campaign.message_of(arm).translations or {})):
            record = {"user_id": "u", "platform": "ios", "token": "t", "locale": locale or None,
                      "attributes": {"first_name": "Ann \\"\\u00e9\\"", "credits": 3}}
            words = renderer.render(arm, read_recipient({key: value for key, value in record.items() if value}))
            for one in prepare(renderer.wording(words.key), Label("0" * 20, campaign.id, arm)):
                print(one.body("to\\"ken", words.texts, 1.8e9).decode(), one.payload_bytes(words.texts))
"""


@pytest.fixture(scope="module")
def worker(artifacts: Artifacts) -> Artifact:
    """The notifier's artifact, for this machine."""
    return artifacts.of("WorkerFunction", "host")


@pytest.fixture(scope="module")
def approval(artifacts: Artifacts) -> Artifact:
    """The artifact of the approval pages, for this machine."""
    return artifacts.of("ApprovalFunction", "host")


@pytest.mark.slow
def test_they_are_small(artifacts: Artifacts, capsys: pytest.CaptureFixture[str]) -> None:
    """Unpacked and with byte code: the notifier up to 60 MB, the pages up to 25, the audience function up to 150."""
    sizes = {
        (function, target): artifacts.of(function, target).size_mb()
        for function in FUNCTIONS
        for target in ("lambda", "host")
    }
    shown = ", ".join(f"{function} {size:.1f}" for (function, target), size in sizes.items() if target == "lambda")
    with capsys.disabled():
        print(f"\nUnpacked, in MB: {shown}")  # noqa: T201 - to be seen in the gate's log
    for (function, target), size in sizes.items():
        limit = LIMITS_MB[FUNCTIONS[function].partition(".")[0]]
        assert 5 < size <= limit, f"{function} for {target}: {size:.1f} MB"


@ALL
def test_libraries_are_for_lambdas_processor(function: str, artifacts: Artifacts) -> None:
    """Every library is an ELF file for aarch64, for this version of Python, and asks for no newer C library."""
    found = artifacts.of(function, "lambda")
    libraries = [path for path in found.files() if ".so" in path.suffixes]
    assert {artifact.machine(path) for path in libraries} == {artifact.AARCH64}
    assert [path.name for path in libraries if ".cpython-" in path.name and f".{CPYTHON}-" not in path.name] == []
    assert {path.name: needed for path in libraries if (needed := artifact.glibc_needed(path)) > GLIBC} == {}
    assert not any("curl" in path.name for path in libraries)


def _fitting() -> set[Tag]:
    """The tags of wheels that this version of Python takes in Lambda."""
    platforms = [*(f"manylinux_2_{minor}_aarch64" for minor in range(17, GLIBC + 1)), "manylinux2014_aarch64"]
    return {*cpython_tags(VERSION, platforms=platforms), *compatible_tags(VERSION, platforms=platforms)}


@ALL
def test_wheels_are_for_lambda(function: str, artifacts: Artifacts) -> None:
    """What was installed is pure Python, or made for aarch64 and this version of Python."""
    wheels = artifacts.of(function, "lambda").files("*.dist-info/WHEEL")
    assert len(wheels) >= 5
    for wheel in wheels:
        said = HeaderParser().parsestr(wheel.read_text(encoding="utf-8")).get_all("Tag", [])
        tags = {tag for text in said for tag in parse_tag(text)}
        assert tags & _fitting(), f"{wheel.parent.name}: {said}"


@ALL
def test_they_leave_out_what_nobody_needs(function: str, artifacts: Artifacts) -> None:
    """boto3 and its family are in Lambda's runtime; nothing for building or testing is shipped either."""
    found = artifacts.of(function, "lambda")
    assert found.packages() & (IN_LAMBDA_ALREADY | NEVER_SHIPPED) == set()
    assert [path for path in found.folder.rglob("tests") if path.is_dir()] == []
    assert found.files("*.pyi") == []
    if function == "WorkerFunction":
        assert {"notifier", "msgspec", *SENDERS} <= found.packages()
        assert "approval" not in found.packages()
    elif function == "AudienceFunction":
        assert {"audiences", "privacy", "notifier", "msgspec", "duckdb", "google", "ijson"} <= found.packages()
        # google-auth signs with cryptography; its requests go over the runtime's urllib3.
        assert found.packages() & ({"approval", *SENDERS} - {"ijson", "google", "cryptography"}) == set()
    elif function == "ScheduleFunction":
        assert {"schedules", "notifier", "msgspec", "cronsim", "tzdata"} <= found.packages()
        assert found.packages() & {"approval", "audiences", "duckdb", *SENDERS} == set()
    else:
        assert {"approval", "notifier", "msgspec", "tzdata"} <= found.packages()
        assert found.packages() & SENDERS == set()


@ALL
def test_byte_code_is_taken_as_it_is(function: str, artifacts: Artifacts) -> None:
    """All source is compiled, by Lambda's version of Python and from this very source.

    It is never compared with its source there, whose time does not survive sam's zip. Where no Python of Lambda's
    version is at hand, the build says so instead.
    """
    found = artifacts.of(function, "lambda")
    if f"No Python {VERSION[0]}.{VERSION[1]} here" in found.printed:
        assert found.files("notifier/**/*.pyc") == []
        return
    expected = {
        source.parent / "__pycache__" / f"{source.stem}.{CPYTHON}.pyc": source for source in found.files("*.py")
    }
    assert set(found.files("*.pyc")) == set(expected)
    for compiled, source in expected.items():
        head = compiled.read_bytes()[:16]
        assert head[:4] == MAGIC, compiled
        assert int.from_bytes(head[4:8], "little") == 0b01, f"{compiled}: by hash (bit 0), unchecked (bit 1 not set)"
        assert head[8:] == _imp.source_hash(int.from_bytes(MAGIC, "little"), source.read_bytes()), compiled


def test_every_module_imports(worker: Artifact, runtime: Path) -> None:
    """With the artifact and Lambda's runtime alone, each module imports; the command line is not for Lambda."""
    paths = [path.relative_to(worker.folder) for path in worker.files("notifier/**/*.py")]
    modules = [".".join(path.with_suffix("").parts) for path in paths if path.name != "__init__.py"]
    assert "notifier.app" in modules
    assert "operations.cli.sign_in_link" not in modules
    result = artifact.python(worker.folder, runtime, "-c", "\n".join(f"import {module}" for module in modules))
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_the_audience_function_makes_an_audience(artifacts: Artifacts, runtime: Path, tmp_path: Path) -> None:
    """With its artifact and Lambda's runtime alone: each module imports, DuckDB works, a key for BigQuery is taken."""
    found = artifacts.of("AudienceFunction", "host")
    paths = [path.relative_to(found.folder) for path in found.files("audiences/**/*.py")]
    modules = [".".join(path.with_suffix("").parts) for path in paths if path.name != "__init__.py"]
    (tmp_path / "a.csv").write_text("user_id,platform,token\nu1,android,t1\nu1,android,t2\n", encoding="utf-8")
    made = f"""
from audiences.build import Order, build
from audiences.database import Limits
from audiences.destinations import Directory
from audiences.sources import local_files
from pathlib import Path
order = Order({{"files": ["a.csv"]}}, local_files([{str(tmp_path / "a.csv")!r}]))
manifest = build(order, Directory(Path({str(tmp_path / "out")!r})), Limits(Path({str(tmp_path / "work")!r})))
assert (manifest.counts.users, manifest.counts.device_count) == (1, 2), manifest
import json
from audiences.engines.google import Account
from cryptography.hazmat.primitives import serialization as s
from cryptography.hazmat.primitives.asymmetric import rsa
key = rsa.generate_private_key(65537, 2048).private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
fields = dict(project_id="p", client_email="a@example.com", token_uri="https://localhost/t", private_key=key.decode())
account = Account(json.dumps(fields), "the secret")
assert account._credentials._make_authorization_grant_assertion().count(b".") == 2
assert account.project == "p" and account.ask("https://localhost")
"""
    result = artifact.python(
        found.folder, runtime, "-c", "\n".join([*(f"import {module}" for module in modules), made])
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_the_approval_functions_use_all_that_they_ship(approval: Artifact, runtime: Path) -> None:
    """Each module of theirs imports, late imports too, and no package lies idle; nothing comes from elsewhere."""
    result = artifact.python(approval.folder, runtime, "-c", APPROVAL_IN_USE)
    assert result.returncode == 0, result.stderr
    loaded: dict[str, str] = json.loads(result.stdout)
    own = {name.partition(".")[0] for name, file in loaded.items() if file.startswith(str(approval.folder))}
    assert own == approval.packages()
    assert {name for name, file in loaded.items() if "site-packages" in file} == set()


@pytest.mark.slow
def test_previews_are_what_is_sent(worker: Artifact, approval: Artifact, runtime: Path) -> None:
    """From either folder, with pyfcm and without: the same bodies, byte for byte, and the same sizes."""
    paths = sorted((artifact.ROOT / "events" / "batches").glob("*.json"))
    campaigns = [json.loads(path.read_text(encoding="utf-8"))["campaign"] for path in paths]
    translated = {
        "title": "Hi {{ first_name }}",
        "body": "{% if credits > 5 %}rich{% endif %}",
        "image_url": "https://x/é",
    }
    more = {"translations": {"de": {"title": "Hallo"}}, "badge": 1, "ttl_s": 60, "fcm": {"data": {"own": "1"}}}
    campaigns.append({"id": "all", "message": {**translated, **more, "apns": {"aps": {"alert": {"subtitle": "s"}}}}})
    said = {
        name: artifact.python(found.folder, runtime, "-c", BODIES, name, json.dumps(campaigns))
        for name, found in (("worker", worker), ("approval", approval))
    }
    for result in said.values():
        assert result.returncode == 0, result.stderr
    assert said["approval"].stdout == said["worker"].stdout
    assert len(said["worker"].stdout.splitlines()) > 2 * len(campaigns)


def test_the_notifiers_libraries_work_in_a_handler(worker: Artifact, runtime: Path, tmp_path: Path) -> None:
    """Under AWS's runtime client, what is imported late works too: tokens are signed, text is rendered."""
    (tmp_path / "probe.py").write_text(PROBE, encoding="utf-8")
    answer = artifact.invoke(
        worker.folder, runtime, "probe.handler", {}, PYTHONPATH=f"{worker.folder}:{runtime}:{tmp_path}"
    )
    assert answer.error is None, answer
    assert answer.payload["text"].startswith("Hi There, 20")
    assert (answer.payload["assertion"], answer.payload["apns"]) == (2, 2)
    assert answer.payload["http2"] is True
    assert answer.payload["users"] == [{"user_id": 1}]
    assert answer.payload["backend"] == "yajl2_c"
    assert answer.payload["request_id"] == "00000000-0000-0000-0000-000000000001"
