"""The sandbox that stays up: a bucket to drop files in, approval pages, mails, phones, traces to look at."""

import json
import shlex
import threading
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from sandbox.blueprint import REGION
from sandbox.observe import Observatory
from sandbox.observe.server import ObserveServer
from sandbox.office import Office
from sandbox.stack import Sandbox
from sandbox.trial import Setting
from sandbox.xray import Daemon


def stay_up(state_dir: Path, console: Console, ports: tuple[int, int, int] = (0, 0, 0)) -> None:
    """Start everything, print the addresses, and wait for Ctrl-C. `ports`: approval pages, mails and phones, traces."""
    with Daemon() as daemon:
        variables = {"AWS_XRAY_DAEMON_ADDRESS": daemon.address}
        setting = Setting(variables=variables, schedule_every_s=60.0, fires_schedules=True)
        with (
            Office.start(state_dir, setting, ports[:2]) as office,
            ObserveServer(Observatory(daemon), port=ports[2]) as observe,
        ):
            office.trial.sandbox.lambda_.around = daemon.around
            office.bridge.around = daemon.around_api
            addresses = [*office.addresses, ("Service map and traces", observe.url)]
            stack_file = write_stack_file(office.trial.sandbox, state_dir / "stack.json", office.url)
            _print_addresses(console, addresses, office.trial.sandbox, stack_file)
            threading.Event().wait()


def _print_addresses(console: Console, addresses: list[tuple[str, str]], sandbox: Sandbox, stack_file: Path) -> None:
    width = max(len(name) for name, _ in addresses) + 2
    console.print("[bold]The sandbox is up.[/] Ctrl-C ends it.\n")
    for name, address in addresses:
        console.print(f"  {name:<{width}}{address}", soft_wrap=True)
    console.print("\nSign in as ann@example.com (asks), bob@example.com or cat@example.com (approve).")
    console.print(f"Or drop a batch file yourself, in s3://{sandbox.bucket}/batches/ :\n")
    for line in as_exports(variables_for_people(sandbox, stack_file)).splitlines():
        console.print(f"  {line}", soft_wrap=True, highlight=False)
    console.print("  .venv/bin/python -m sandbox audience --users 5000 -o audience.json", highlight=False)
    console.print("  .venv/bin/notifier start audience.json --yes\n", highlight=False)


def write_stack_file(sandbox: Sandbox, path: Path, pages: str = "") -> Path:
    """Write the file for `notifier --stack-file`. `pages`: the URL of the approval app; empty where it does not run."""
    names = {
        "bucket": sandbox.bucket,
        "table": sandbox.table,
        "worker": sandbox.function("WorkerFunction").trigger_arn,
        "control": sandbox.function("ControlFunction").name,
        "schedules": sandbox.function("ScheduleFunction").name,
        "endpoint_url": sandbox.endpoint_url,
        "region": REGION,
        "access_key_id": "sandbox",
        "secret_access_key": "sandbox",
    }
    if pages:
        names |= {"approval": sandbox.function("ApprovalFunction").name, "pages": pages.rstrip("/")}
    path.write_text(json.dumps(names, indent=2))
    return path


def variables_for_people(sandbox: Sandbox, stack_file: Path) -> dict[str, str]:
    """The environment in which boto3, the AWS command line and `notifier` speak to this sandbox."""
    return {
        "AWS_ENDPOINT_URL": sandbox.endpoint_url,
        "AWS_ACCESS_KEY_ID": "sandbox",
        "AWS_SECRET_ACCESS_KEY": "sandbox",
        "AWS_DEFAULT_REGION": REGION,
        "NOTIFIER_STACK_FILE": str(stack_file),
    }


def as_exports(variables: Mapping[str, str]) -> str:
    """Lines for a shell."""
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())
