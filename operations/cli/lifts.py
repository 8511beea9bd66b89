"""`lift`: what an experiment's figures say, for the figures of any tool."""

import re
from pathlib import Path
from typing import Annotated

import typer

from operations.cli.errors import CommandError, ExitCode, reports_errors
from operations.cli.lift_sums import lift_of_sums
from operations.cli.options import AsJson, console, print_json
from reporting.lift_table import lift_screen, plain_comparison, smallest_lift_in_words
from reporting.statistics.comparison import SMALLEST_LIFT_PERCENT, Basis, Experiment, compare
from reporting.statistics.fixed_horizon import Arm
from reporting.statistics.power import smallest_lift

_FIGURES = re.compile(r"([0-9][0-9,_]*)\s*/\s*([0-9][0-9,_]*)")
_SHARE = re.compile(r"[0-9]{1,3}(\.[0-9]{1,2})?")
_CONTROL = "control"
_LIKE = "write converted users, a slash, and all users of the arm: 104/11037"
_LARGEST_LIFT_PERCENT = 10_000


@reports_errors
def lift(
    context: typer.Context,
    control: Annotated[
        str | None,
        typer.Option(
            help="The control group: users who converted / all its users. None: variants are compared in pairs."
        ),
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(help="A variant, as converted/users or name=converted/users. Once for each."),
    ] = None,
    smallest: Annotated[
        float,
        typer.Option(metavar="PERCENT", help="The smallest lift that matters, fixed before anything was seen."),
    ] = SMALLEST_LIFT_PERCENT,
    look: Annotated[
        bool, typer.Option("--look", help="The last user's window is not over: only what is valid at any look.")
    ] = False,
    days: Annotated[
        float | None, typer.Option(help="With --look: days of conversions so far, to say how many more it takes.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(metavar="SHARES", help="The planned shares, control first: 10,45,45. Checks the arms' sizes."),
    ] = None,
    sums: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Means instead: a CSV of sums by arm: arm,users,y,yy and, to adjust, x,xx,xy."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare arms by users and conversions: lift, interval, corrected p-value, and a verdict in words.

    Count users, not events: a user who converts twice is one. Needs no stack and no account.

    Exit 0 where there is a verdict; 1 where it cannot tell, or the arms must not be compared.

    Example: notifier lift --control 189/11034 --variant 104/11037
    """
    if sums is not None:
        if beside := _beside_sums(context):
            raise CommandError(ExitCode.USAGE, "--sums is of means alone", f"leave out {', '.join(beside)}")
        if not lift_of_sums(sums, as_json=as_json):
            raise typer.Exit(ExitCode.NOT_FINE)
        return
    experiment = _experiment(control, variant or [], smallest, days, split)
    comparison = compare(experiment, Basis.LOOK if look else Basis.FINAL)
    has_verdict = any(found.verdict.finding.is_verdict for found in comparison.lifts)
    if as_json:
        print_json(plain_comparison(comparison))
    else:
        console().print(lift_screen(comparison))
        if not has_verdict and (words := _planned(experiment)):
            console().print(words, style="dim", markup=False)
    if not has_verdict:
        raise typer.Exit(ExitCode.NOT_FINE)


def _beside_sums(context: typer.Context) -> list[str]:
    """The options that were typed beside --sums and would change nothing."""
    others = [name for name in context.params if name not in ("sums", "as_json")]
    # By its source: a default that is typed out is typed, too.
    sources = {name: context.get_parameter_source(name) for name in others}
    return [f"--{name}" for name, source in sources.items() if source is not None and source.name != "DEFAULT"]


def _experiment(
    control: str | None, variants: list[str], smallest: float, days: float | None, split: str | None
) -> Experiment:
    arms: tuple[tuple[str, Arm], ...] = ((_CONTROL, _figures("--control", control)),) if control is not None else ()
    for n, text in enumerate(variants):
        name, sign, figures = text.rpartition("=")
        # Without names: the only one is called variant, several are numbered.
        name = name.strip() if sign else "variant" if len(variants) == 1 else f"variant {n + 1}"
        if not name or name in dict(arms):
            raise CommandError(ExitCode.USAGE, f"--variant {text}: {name or 'the empty name'} twice", "name each once")
        arms += ((name, _figures(f"--variant {text}", figures)),)
    if len(arms) < 2:
        mend = "give --control and one --variant, or two variants: --control 189/11034 --variant 104/11037"
        raise CommandError(ExitCode.USAGE, "there is nothing to compare", mend)
    if not 0 < smallest <= _LARGEST_LIFT_PERCENT:
        raise CommandError(ExitCode.USAGE, f"--smallest {smallest:g}: not a lift", "a percentage above 0, as 10")
    if days is not None and not days > 0:
        raise CommandError(ExitCode.USAGE, f"--days {days:g}: not a number of days", "a number above 0, as 5 or 0.5")
    first = _CONTROL if control is not None else None
    return Experiment(arms, first, _shares(split, len(arms)), smallest, days)


def _figures(option: str, text: str) -> Arm:
    match = _FIGURES.fullmatch(text.strip())
    if match is None:
        raise CommandError(ExitCode.USAGE, f"{option}: {text!r} is not two numbers", _LIKE)
    conversions, users = (int(re.sub("[,_]", "", n)) for n in match.groups())
    if conversions > users:
        problem = f"{option}: {conversions:,} of {users:,} users converted"
        turned = f"the other way round? {users}/{conversions}. Else count users, not events: each at most once"
        raise CommandError(ExitCode.USAGE, problem, turned)
    return Arm(users, conversions)


def _shares(split: str | None, arms: int) -> tuple[int, ...] | None:
    if split is None:
        return None
    texts = [text.strip() for text in re.split("[,:/]", split)]
    if len(texts) != arms or not all(_SHARE.fullmatch(text) and float(text) for text in texts):
        problem = f"--split {split}: not {arms} shares above 0"
        raise CommandError(ExitCode.USAGE, problem, "one for each arm, control first, as 10,45,45")
    # Whole numbers in one unit: only their proportions count.
    return tuple(round(float(text) * 100) for text in texts)


def _planned(experiment: Experiment) -> str | None:
    """What an experiment of this size is likely to show; for a control group and variants only."""
    arms = dict(experiment.arms)
    control = arms.pop(experiment.control) if experiment.control else None
    fewest = min((arm.users for arm in arms.values()), default=0)
    if control is None or not control.conversions or not fewest:
        return None
    return smallest_lift_in_words(smallest_lift(control.users, fewest, control.rate))
