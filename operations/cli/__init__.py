"""The operator's command line: `notifier`. Nothing of it is deployed."""

import typer

from operations.cli import (
    audiences,
    conversions,
    costing,
    counting,
    deploying,
    holding,
    lifts,
    people,
    proofs,
    reports,
    retries,
    runs,
    schedules,
    setup,
    sign_in_link,
    test_pushes,
    validation,
    watching,
)

EXIT_CODES = (
    "Exit codes: 0 done, and the answer is yes · 1 done, and the answer is no (the file would be refused, the run did "
    "not complete, a push was not accepted) · 2 the command line is wrong · 3 the file, run or stack is not there · "
    "4 AWS could not be reached or did not allow it · 130 interrupted."
)
WHICH_STACK = (
    "Which stack: --stack NAME (CloudFormation), --stack-file FILE (the sandbox writes one), or NOTIFIER_BUCKET, "
    "NOTIFIER_TABLE, NOTIFIER_WORKER and NOTIFIER_CONTROL. boto3's own variables (AWS_PROFILE, AWS_REGION, "
    "AWS_ENDPOINT_URL) work as everywhere."
)
EXAMPLE = "Example: notifier validate day-2.json && notifier start day-2.json --watch"

app = typer.Typer(
    name="notifier",
    help="Push campaigns from one JSON file: look at it, test it, send it, follow it, report on it.",
    epilog=f"{WHICH_STACK}\n\n{EXIT_CODES}\n\n{EXAMPLE}",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("validate")(validation.validate)
app.command("test")(test_pushes.send_test_pushes)
app.command("start")(runs.start)
app.command("status")(watching.status)
app.command("watch")(watching.watch)
app.command("pause")(runs.pause)
app.command("resume")(runs.resume)
app.command("cancel")(runs.cancel)
app.command("hold")(holding.hold)
app.command("release")(holding.release)
app.command("report")(reports.report)
app.command("lift")(lifts.lift)
app.command("audit")(proofs.audit)
app.command("retry")(retries.retry)
app.command("find")(people.find_user)
app.command("erase")(people.erase_users)
app.command("deploy")(deploying.deploy)
app.command("cost")(costing.cost)
app.command("setup")(setup.setup)
app.command("sign-in-link")(sign_in_link.sign_in_link)
app.command("count")(counting.count)
app.add_typer(conversions.convert, name="convert")
app.add_typer(audiences.audience, name="audience")
app.add_typer(schedules.schedules, name="schedules")


def main() -> None:
    """The entry point."""
    app(prog_name="notifier")
