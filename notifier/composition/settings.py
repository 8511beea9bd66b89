"""The environment, read in one place into one frozen value. All faults are reported at once, by name."""

import enum
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from notifier.gateway.http2.dial import proxy_of
from notifier.gateway.http2.socket import tls_context
from notifier.model.holdout import read_hundredths, read_version


class Mode(enum.StrEnum):
    """Whether phones ring."""

    REHEARSE = "rehearse"
    """FCM only validates, APNs is not asked."""
    LIVE = "live"


class BadSettings(ValueError):
    """The function is not set up. `faults` names every variable and how to set it."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("settings: " + "; ".join(faults))
        self.faults = faults


class Settings(msgspec.Struct, frozen=True):
    """What the template sets. Names are those of the environment variables, in lower case.

    Args:
        recurse_below_ms: with less time left the lane hands over; at most half the function's timeout.
        fcm_per_second: the project's budget, shared by the runs alive (FCM's own limit is 600,000 a minute).
        ramp_s: seconds of sending over which the rate grows from zero; 0 for none.
        window: pushes that may be open at once. At 90 ms an answer a thousand would allow 11,000 a second.
        worker_function: the function to invoke; in the worker itself Lambda sets it (`AWS_LAMBDA_FUNCTION_NAME`).
        audience_function: the function that prepares audiences; empty where the stack has none.
        spent_letter_queue_url: takes the dead letters that the sweeper does not replay any more.
        cache_max_mb: how much of /tmp the audience cache may take.
        stack: the stack's name, a dimension of its metrics: an account may have several stacks.
        trace_sample: of the traces that Lambda samples, the percentage that gets the notifier's own detail.
        require_approval: batch files are sent only if the ledger has an approval of exactly their bytes.
        suppression_prefix: of the keys of the lists of users whom every run leaves out, with a slash at its end.
        holdout_percent: the share of users who get no campaign, in hundredths of a percent; read as a percentage.
        holdout_version: another one draws other users.
        batch_file_days, work_days, result_days: how long the bucket keeps what a run goes on from; for the sweeper.
        gateway_proxy: of an HTTP proxy on the way to the gateways and to Google's token endpoint; may hold a password.
        xray_daemon_address: where traces go; Lambda says it (`AWS_XRAY_DAEMON_ADDRESS`).
    """

    bucket: str
    table: str
    mode: Mode = Mode.REHEARSE
    fcm_secret_arn: str = ""
    apns_secret_arn: str = ""
    fcm_base_url: str = "https://fcm.googleapis.com"
    apns_base_url: str = "https://api.push.apple.com"
    apns_sandbox_base_url: str = "https://api.sandbox.push.apple.com"
    gateway_ca_file: str = ""
    gateway_proxy: str = ""
    fcm_connections: int = 10
    apns_connections: int = 4
    request_timeout_ms: int = 15_000
    recurse_below_ms: int = 60_000
    fcm_per_second: int = 9_000
    ramp_s: int = 60
    window: int = 2_000
    cache_dir: str = "/tmp/notifier"  # noqa: S108 - Lambda's only writable place
    cache_max_mb: int = 400
    worker_function: str = ""
    audience_function: str = ""
    dead_letter_queue_url: str = ""
    spent_letter_queue_url: str = ""
    log_level: str = "INFO"
    stack: str = "notifier"
    trace_sample: float = 100.0
    xray_daemon_address: str = ""
    require_approval: bool = False
    suppression_prefix: str = "suppression/"
    holdout_percent: int = 0
    holdout_version: str = "1"
    batch_file_days: int = 30
    work_days: int = 30
    result_days: int = 180

    def __repr__(self) -> str:
        return f"Settings(stack={self.stack!r}, mode={self.mode.value!r})"


def _positive(text: str) -> int:
    number = int(text)
    if number <= 0:
        raise ValueError
    return number


def _not_negative(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


def _percentage(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 100:
        raise ValueError
    return number


def _https(text: str) -> str:
    # A slash at the end would double the one that each request's path begins with.
    if not text.startswith("https://") or text.endswith("/"):
        raise ValueError
    return text


def _folder(text: str) -> str:
    if not text.endswith("/") or text.startswith("/"):
        raise ValueError
    return text


def _authorities(path: str) -> str:
    """Read at the start: later it would fail one hop after the other."""
    tls_context(path)
    return path


def _proxy(text: str) -> str:
    proxy_of(text)
    return text


def _yes_or_no(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def _level(text: str) -> str:
    if text.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise ValueError
    return text.upper()


_SECRET = frozenset({"gateway_proxy"})
"""Of these a fault does not show the value: it may hold a password."""

_READERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "mode": (Mode, "rehearse or live"),
    "fcm_base_url": (_https, "https://…, without a slash at its end"),
    "apns_base_url": (_https, "https://…, without a slash at its end"),
    "apns_sandbox_base_url": (_https, "https://…, without a slash at its end"),
    "gateway_ca_file": (_authorities, "a file that can be read here, with certificates in PEM"),
    "gateway_proxy": (_proxy, "http://host:port or https://host:port, with user:password@ before the host if needed"),
    "fcm_connections": (_positive, "an integer above 0"),
    "apns_connections": (_positive, "an integer above 0"),
    "request_timeout_ms": (_positive, "an integer above 0"),
    "recurse_below_ms": (_positive, "an integer above 0"),
    "fcm_per_second": (_positive, "an integer above 0"),
    "ramp_s": (_not_negative, "an integer, 0 or more"),
    "window": (_positive, "an integer above 0"),
    "cache_max_mb": (_not_negative, "an integer, 0 or more"),
    "trace_sample": (_percentage, "a number from 0 to 100"),
    "batch_file_days": (_positive, "an integer above 0"),
    "work_days": (_positive, "an integer above 0"),
    "result_days": (_positive, "an integer above 0"),
    "suppression_prefix": (_folder, "a prefix of keys, with a slash at its end and none before it"),
    "holdout_percent": (read_hundredths, "a percentage from 0 to 50, with at most two places"),
    "holdout_version": (read_version, "one to four small letters and digits"),
    "require_approval": (_yes_or_no, "true or false"),
    "log_level": (_level, "DEBUG, INFO, WARNING or ERROR"),
}


def read_settings(environment: Mapping[str, str]) -> Settings:
    """The settings in an environment.

    Raises:
        BadSettings: with every variable that is missing or wrong.
    """
    values: dict[str, Any] = {}
    faults = []
    for field in msgspec.structs.fields(Settings):
        text = environment.get(field.name.upper(), "")
        # Empty is as good as unset: CloudFormation passes an empty text for a parameter that was not given.
        if not text:
            if field.required:
                faults.append(f"{field.name.upper()} is missing")
            continue
        read, _ = _READERS.get(field.name, (str, ""))
        if fault := fault_of(field.name, text):
            faults.append(fault)
        else:
            values[field.name] = read(text)
    # Lambda sets these two itself, in every function.
    values.setdefault("worker_function", environment.get("AWS_LAMBDA_FUNCTION_NAME", ""))
    values.setdefault("xray_daemon_address", environment.get("AWS_XRAY_DAEMON_ADDRESS", ""))
    if faults:
        raise BadSettings(tuple(faults))
    return Settings(**values)


def fault_of(name: str, text: str) -> str:
    """What is wrong with the text of one setting; empty where nothing is."""
    read, expected = _READERS.get(name, (str, "a text"))
    try:
        read(text)
    except (ValueError, KeyError, OSError):
        shown = "not usable" if name in _SECRET else repr(text)
        return f"{name.upper()} is {shown}: expected {expected}"
    return ""


def check_time(settings: Settings, timeout_ms: int) -> None:
    """Hold `recurse_below_ms` against the function's timeout.

    Raises:
        BadSettings: when a hop would have no time to send.
    """
    # A hop hands over once less than this is left: with more than half, most of each paid invocation would be drained.
    if settings.recurse_below_ms * 2 > timeout_ms:
        fault = (
            f"RECURSE_BELOW_MS is {settings.recurse_below_ms}: at most half the function's timeout ({timeout_ms} ms)"
        )
        raise BadSettings((fault,))
