"""`retry`: a batch file of the devices of a run that failed."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from notifier.model.plurals import counted
from operations.cli.cloud import Cloud
from operations.cli.deployment import find_deployment
from operations.cli.errors import CommandError, ExitCode, reports_errors
from operations.cli.options import AsJson, RunName, Stack, StackFile, console, print_json
from reporting.proof.conclusion import CannotProve, NotProved
from reporting.proof.evidence import COMPLETED
from reporting.proof.retried import ONLY_WHEN_NAMED, NoRetry, Retry, are_one_kind, write_retry


@reports_errors
def retry(
    run: RunName,
    reason: Annotated[
        list[str] | None,
        typer.Option(
            help="Only failures with this reason; once for each. `too_late` is retried only when it is named."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The file to write. Default: RUN-retry.json.")] = None,
    stack: Stack = None,
    stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a batch file of the devices that failed: same experiment, same texts, and nobody else in it.

    `failed` is what no gateway answered for good; what was rejected is never retried. The run is audited on the way,
    and the file is read again to prove whom it has. It holds device tokens: only you may read it.
    The same retry has the same campaign id: once it is sent, a second file of it is refused.

    Exit 1 if nothing failed, or the run is not proved.

    Example: notifier retry day-2-engagement-2026-11-21 && notifier start day-2-engagement-2026-11-21-retry.json
    """
    if not are_one_kind(reason or ()):
        named = ", ".join(sorted(ONLY_WHEN_NAMED.intersection(reason or ())))
        problem = f"--reason {named} beside others: each kind has a file of its own, so that nobody is in two"
        raise CommandError(ExitCode.USAGE, problem, f"name {named} alone, and the others in another call")
    cloud = Cloud(find_deployment(stack, stack_file))
    run_id = cloud.run_id_of(run)
    path = out or Path(f"{run.rpartition('/')[2].removesuffix('.json')}-retry.json")
    # Never over a file: it may be the one retry that was sent already.
    if path.exists():
        raise CommandError(ExitCode.USAGE, f"{path}: is there already", "name another file with -o, or remove it")
    try:
        made = write_retry(
            cloud.client("s3"), cloud.deployment.bucket, run_id, path, reason or (), now=datetime.now(UTC)
        )
    except (NotProved, CannotProve) as error:
        raise CommandError(ExitCode.NOT_FINE, f"no file is written: {error}", f"notifier audit {run}") from None
    except NoRetry as error:
        raise CommandError(ExitCode.NOT_FINE, f"no file is written: {error}", "make a new campaign") from None
    if not made.devices:
        path.unlink()
    _print(made, path, as_json=as_json)
    if not made.devices:
        raise typer.Exit(ExitCode.NOT_FINE)


def _print(made: Retry, path: Path, *, as_json: bool) -> None:
    if as_json:
        print_json(msgspec.to_builtins(made) | {"file": str(path) if made.devices else None})
        return
    out = console()
    if made.devices:
        out.print(
            f"{path}: {counted(made.devices, 'device')} in {counted(made.users, 'record')}\n"
            f"campaign {made.campaign_id}\n"
            "proved: each of them failed in this run, and no other device is in the file",
            markup=False,
        )
        if made.is_counted_by_caps:
            out.print(
                "where a cap holds, the first run counts for these users: whoever has had enough by it is left out as "
                "`capped`, until the cap's days are over",
                markup=False,
            )
    else:
        out.print("nothing to retry: no device failed for such a reason", markup=False)
    if made.status != COMPLETED:
        out.print(
            f"the run was not completed ({made.status}): {counted(made.unsent, 'device')} that it had deferred, and "
            "users whom it had not read, have not failed and are not in it: docs/operations.md, It broke off",
            markup=False,
        )
    for name, counts in (("retried", made.taken), ("left out", made.left_out)):
        for reason, n in sorted(counts.items(), key=lambda item: -item[1]):
            out.print(f"  {name}: {n:>9,}  {reason}", markup=False)
