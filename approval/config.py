"""The environment as settings. All faults are reported at once, by the variable's name."""

from collections.abc import Mapping

import msgspec

from approval.request import Limits
from notifier.model.caps import NO_DEFAULTS, CapDefaults, read_defaults
from notifier.model.kept_days import KEPT_BY_DEFAULT, KeptDays, read_kept_days


class BadSettings(ValueError):
    """Variables are missing or wrong. The message names each of them."""


class Settings(msgspec.Struct, frozen=True):
    """The deployment's settings. Lists hold addresses (`ann@example.com`) and domains (`@example.com`)."""

    bucket: str
    ledger_table: str
    approval_table: str
    control_function: str
    audience_function: str
    signing_secret_arn: str
    mail_from: str
    requesters: tuple[str, ...]
    approvers: tuple[str, ...]
    limits: Limits = Limits()
    mode: str = "rehearse"
    fcm_per_second: int = 9000
    ramp_s: int = 60
    log_level: str = "INFO"
    stack: str = "notifier"
    schedule_function: str = ""
    privacy_officers: tuple[str, ...] = ()
    privacy_function: str = ""
    cap_defaults: CapDefaults = NO_DEFAULTS
    kept: KeptDays = KEPT_BY_DEFAULT
    app_name: str = ""
    app_icon_url: str = ""
    webhook_secret_arn: str = ""


_NAMES = {
    "bucket": "BUCKET",
    "ledger_table": "TABLE",
    "approval_table": "APPROVAL_TABLE",
    "control_function": "CONTROL_FUNCTION",
    "audience_function": "AUDIENCE_FUNCTION",
    "signing_secret_arn": "SIGNING_SECRET_ARN",
    "mail_from": "MAIL_FROM",
}


def read_settings(environment: Mapping[str, str]) -> Settings:
    """The settings in an environment.

    Raises:
        BadSettings: with every fault.
    """
    faults: list[str] = []
    texts = {field: environment.get(name, "").strip() for field, name in _NAMES.items()}
    faults += [f"{_NAMES[field]}: missing" for field, text in texts.items() if not text]
    numbers = {
        name: _number(environment, name, default, faults)
        for name, default in (
            ("TWO_APPROVERS_ABOVE", 100_000),
            ("REVIEW_DAYS", 7),
            ("FCM_PER_SECOND", 9000),
            ("RAMP_S", 60),
        )
    }
    mode = environment.get("MODE", "rehearse")
    if mode not in ("rehearse", "live"):
        faults.append("MODE: rehearse or live")
    app_icon_url = environment.get("APP_ICON_URL", "").strip()
    if app_icon_url and not app_icon_url.startswith("https://"):
        faults.append("APP_ICON_URL: an https address")
    cap_defaults = NO_DEFAULTS
    try:
        cap_defaults = read_defaults(environment)
    except ValueError as error:
        faults.append(str(error))
    if faults:
        raise BadSettings("; ".join(faults))
    kept = read_kept_days(environment)
    return Settings(
        **texts,
        requesters=people(environment.get("REQUESTERS", "")),
        approvers=people(environment.get("APPROVERS", "")),
        limits=Limits(
            two_approvers_above=numbers["TWO_APPROVERS_ABOVE"],
            # What is decided on is kept no longer.
            review_days=max(1, min(numbers["REVIEW_DAYS"], kept.batch_files)),
        ),
        mode=mode,
        fcm_per_second=max(1, numbers["FCM_PER_SECOND"]),
        ramp_s=numbers["RAMP_S"],
        log_level=environment.get("LOG_LEVEL", "INFO"),
        stack=environment.get("STACK", "notifier"),
        schedule_function=environment.get("SCHEDULE_FUNCTION", ""),
        privacy_officers=people(environment.get("PRIVACY_OFFICERS", "")),
        privacy_function=environment.get("PRIVACY_FUNCTION", ""),
        cap_defaults=cap_defaults,
        kept=kept,
        app_name=environment.get("APP_NAME", "").strip(),
        app_icon_url=app_icon_url,
        webhook_secret_arn=environment.get("WEBHOOK_SECRET_ARN", "").strip(),
    )


def _number(environment: Mapping[str, str], name: str, default: int, faults: list[str]) -> int:
    text = environment.get(name, "").strip() or str(default)
    if not text.isdecimal():
        faults.append(f"{name}: not a whole number")
        return default
    return int(text)


def people(text: str) -> tuple[str, ...]:
    """The addresses and domains in a list with commas, in lower case."""
    return tuple(item.strip().lower() for item in text.split(",") if item.strip())
