"""What is deployed, as it is deployed: its size, its processor, and that it runs with Lambda's runtime alone."""

from pathlib import Path

import pytest

from tests import artifact

LIMIT_MB = 60

# What only some runs need is imported late, so a probe uses each library once, the way that the notifier does.
PROBE = '''
import json

def handler(event, context):
    """Uses everything that the artifact brings, from the handler's place."""
    import aioapns, ijson, liquid, msgspec, pycurl, jwt
    from aws_lambda_powertools import Logger, Metrics
    from aws_xray_sdk.core import xray_recorder
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from google.oauth2 import service_account
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
        "apns": apns.count("."), "http2": bool(pycurl.version_info()[4] & pycurl.VERSION_HTTP2),
        "users": list(ijson.items(b'[{"user_id": 1}]', "item")), "backend": ijson.backend_name,
        "request_id": context.aws_request_id,
    }
'''


@pytest.fixture(scope="module")
def host() -> Path:
    """The worker's artifact, built for this machine."""
    return artifact.build_for_host()


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Lambda's runtime brings, and nothing else of this environment."""
    return artifact.lambda_runtime(tmp_path_factory.mktemp("var") / "runtime")


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The worker's artifact for Lambda, built as `sam build` builds it, and what the build printed."""
    folder = tmp_path_factory.mktemp("artifact")
    return folder, artifact.build_for_lambda(folder)


def test_it_is_small(host: Path, deployed: tuple[Path, str]) -> None:
    """Unpacked and with byte code, the artifact stays below 60 MB."""
    assert 20 < artifact.size_mb(deployed[0]) < LIMIT_MB
    assert 20 < artifact.size_mb(host) < LIMIT_MB


def test_it_is_for_lambdas_processor(deployed: tuple[Path, str]) -> None:
    """Every library in it, curl's above all, is an ELF file for aarch64, and extensions are for Python 3.13."""
    folder, _ = deployed
    libraries = [path for path in folder.rglob("*") if ".so" in path.suffixes]
    assert {artifact.machine(path) for path in libraries} == {artifact.AARCH64}
    assert any("curl" in path.name for path in libraries)
    assert [path.name for path in libraries if ".cpython-" in path.name and ".cpython-313-" not in path.name] == []


def test_it_leaves_out_what_lambda_has(deployed: tuple[Path, str]) -> None:
    """boto3 and its family are in Lambda's runtime; nothing for building or testing is shipped either."""
    names = {path.name for path in deployed[0].iterdir()}
    assert names & {"boto3", "botocore", "s3transfer", "moto", "pytest", "sandbox", "tests", "approval", "bin"} == set()
    assert {"notifier", "pyfcm", "aioapns", "ijson", "msgspec"} <= names


def test_its_byte_code_is_taken_as_it_is(deployed: tuple[Path, str]) -> None:
    """All source is compiled, never to be compared with its time, which does not survive sam's zip.

    Where no Python of Lambda's version is at hand, the build says so instead.
    """
    folder, printed = deployed
    if "No Python 3.13 here" in printed:
        assert list(folder.rglob("notifier/**/*.pyc")) == []
        return
    sources = [path for path in folder.rglob("*.py") if "notifier" in path.parts or "pyfcm" in path.parts]
    assert sources
    for source in sources:
        compiled = source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc"
        flags = int.from_bytes(compiled.read_bytes()[4:8], "little")
        assert flags == 0b01, f"{source}: by hash (bit 0), unchecked (bit 1 not set)"


def test_every_module_imports(host: Path, runtime: Path) -> None:
    """With the artifact and Lambda's runtime alone, each module imports; the command line is not for Lambda."""
    modules = [
        ".".join(path.relative_to(host).with_suffix("").parts)
        for path in sorted((host / "notifier").rglob("*.py"))
        if path.name not in ("cli.py", "__init__.py")
    ]
    assert modules
    result = artifact.python(host, runtime, "-c", "\n".join(f"import {module}" for module in modules))
    assert result.returncode == 0, result.stderr


def test_its_libraries_work_in_a_handler(host: Path, runtime: Path, tmp_path: Path) -> None:
    """Under AWS's runtime client, what is imported late works too: tokens are signed, text is rendered."""
    (tmp_path / "probe.py").write_text(PROBE, encoding="utf-8")
    answer = artifact.invoke(
        host, runtime, "probe.handler", {}, PYTHONPATH=f"{host}:{runtime}:{tmp_path}", LAMBDA_TASK_ROOT=str(host)
    )
    assert answer.error is None, answer
    assert answer.payload["text"].startswith("Hi There, 20")
    assert (answer.payload["assertion"], answer.payload["apns"]) == (2, 2)
    assert answer.payload["http2"] is True
    assert answer.payload["users"] == [{"user_id": 1}]
    assert answer.payload["backend"] == "yajl2_c"
    assert answer.payload["request_id"] == "00000000-0000-0000-0000-000000000001"
