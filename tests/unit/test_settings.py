"""Settings: read once, checked together, faults reported by name."""

from pathlib import Path

import pytest
import trustme

from notifier.composition.settings import BadSettings, Mode, Settings, check_time, read_settings

LEAST = {"BUCKET": "b", "TABLE": "t"}


def faults(**environment: str) -> list[str]:
    """What is wrong with an environment."""
    with pytest.raises(BadSettings) as bad:
        read_settings(LEAST | environment)
    return list(bad.value.faults)


def test_the_least() -> None:
    """Bucket and table are enough; a stack that says nothing rehearses."""
    settings = read_settings(LEAST)
    assert (settings.bucket, settings.table, settings.mode) == ("b", "t", Mode.REHEARSE)
    assert settings.recurse_below_ms == 60_000
    assert settings.fcm_base_url == "https://fcm.googleapis.com"


def test_empty_is_not_set() -> None:
    """The template passes empty texts for what was not set."""
    assert read_settings(LEAST | dict.fromkeys(("MODE", "RAMP_S", "FCM_SECRET_ARN"), "")) == read_settings(LEAST)


def test_everything(tmp_path: Path) -> None:
    """Every variable is its field's name in upper case, and arrives."""
    authorities = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(authorities))
    values: dict[str, str | int] = {
        "bucket": "B",
        "table": "T",
        "mode": "live",
        "fcm_secret_arn": "arn:f",
        "apns_secret_arn": "arn:a",
        "fcm_base_url": "https://f",
        "apns_base_url": "https://a",
        "apns_sandbox_base_url": "https://s:8443",
        "gateway_ca_file": str(authorities),
        "gateway_proxy": "https://user:secret@proxy:3128",
        "fcm_connections": 1,
        "apns_connections": 2,
        "request_timeout_ms": 3,
        "recurse_below_ms": 4,
        "fcm_per_second": 5,
        "ramp_s": 0,
        "window": 6,
        "cache_dir": "/c",
        "cache_max_mb": 0,
        "worker_function": "w",
        "dead_letter_queue_url": "https://q",
        "spent_letter_queue_url": "https://q/spent",
        "log_level": "DEBUG",
    }
    settings = read_settings({name.upper(): str(value) for name, value in values.items()})
    assert {name: getattr(settings, name) for name in values} == values
    assert values.keys() >= {name for name in Settings.__struct_fields__ if name in values}


def test_the_workers_own_name() -> None:
    """The worker has its name from Lambda; the sweeper has the worker's from the template."""
    assert read_settings(LEAST | {"AWS_LAMBDA_FUNCTION_NAME": "me"}).worker_function == "me"
    both = LEAST | {"AWS_LAMBDA_FUNCTION_NAME": "me", "WORKER_FUNCTION": "worker"}
    assert read_settings(both).worker_function == "worker"


def test_all_faults_at_once() -> None:
    """Every variable that is missing or wrong is reported, with what it should be."""
    with pytest.raises(BadSettings) as bad:
        read_settings({"TABLE": "t", "MODE": "on", "RAMP_S": "-1", "WINDOW": "many", "FCM_BASE_URL": "http://x"})
    assert list(bad.value.faults) == [
        "BUCKET is missing",
        "MODE is 'on': expected rehearse or live",
        "FCM_BASE_URL is 'http://x': expected https://…, without a slash at its end",
        "RAMP_S is '-1': expected an integer, 0 or more",
        "WINDOW is 'many': expected an integer above 0",
    ]
    assert str(bad.value).startswith("settings: BUCKET is missing; MODE is")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("FCM_PER_SECOND", "0"),
        ("FCM_CONNECTIONS", "-1"),
        ("APNS_CONNECTIONS", "1.5"),
        ("REQUEST_TIMEOUT_MS", "15s"),
        ("RECURSE_BELOW_MS", "0"),
        ("CACHE_MAX_MB", "-1"),
        ("LOG_LEVEL", "LOUD"),
        ("APNS_BASE_URL", "https://api.push.apple.com/"),
        ("APNS_SANDBOX_BASE_URL", "api.push.apple.com"),
        ("MODE", "LIVE "),
    ],
)
def test_wrong(name: str, text: str) -> None:
    """A wrong value is reported by its variable."""
    (fault,) = faults(**{name: text})
    assert fault.startswith(f"{name} is {text!r}: expected ")


@pytest.mark.parametrize(
    "address",
    [
        "proxy.example:3128",
        "socks5://user:hush-hush@proxy.example",
        "http://user:hush-hush@",
        "http://user:hush-hush@proxy:port",
        "http://user:hush-hush@[::1",
    ],
)
def test_a_proxy_that_is_none(address: str) -> None:
    """The setting is named, with an address as it should be, and without the password."""
    (fault,) = faults(GATEWAY_PROXY=address)
    assert fault.startswith("GATEWAY_PROXY is not usable: expected http://host:port")
    assert "hush" not in fault


def test_a_proxys_password_is_in_no_repr() -> None:
    """Settings may be logged."""
    settings = read_settings(LEAST | {"GATEWAY_PROXY": "http://user:hush-hush@proxy:3128"})
    assert "hush" not in repr(settings)


@pytest.mark.parametrize("content", [None, "", "no certificate"], ids=["no file", "empty", "no PEM"])
def test_authorities_that_cannot_be_read(tmp_path: Path, content: str | None) -> None:
    """Found when the function starts, by the setting's name."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    (fault,) = faults(GATEWAY_CA_FILE=str(path))
    assert fault == f"GATEWAY_CA_FILE is {str(path)!r}: expected a file that can be read here, with certificates in PEM"


def test_time_to_hand_over() -> None:
    """A function that would hand over for more than half its time is not set up."""
    settings = read_settings(LEAST | {"RECURSE_BELOW_MS": "60000"})
    check_time(settings, 120_000)
    with pytest.raises(BadSettings, match=r"RECURSE_BELOW_MS is 60000: at most half .* \(119999 ms\)"):
        check_time(settings, 119_999)
