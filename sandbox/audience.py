"""Makes batch files of any size, for trying and timing. The same seed gives the same file."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

NAMES = ("Ann", "Ben", "Chloé", "Dmitri", "Esra", "Fatou", "Georg", "Hana", "Iñigo", "Jun", "Kofi", "Łukasz")
PLACES = (
    ("en-GB", "Europe/London"),
    ("de-AT", "Europe/Vienna"),
    ("fr", "Europe/Paris"),
    ("pt-BR", "America/Sao_Paulo"),
)
BROKEN: dict[str, Callable[[dict[str, Any]], object]] = {
    "no-token": lambda user: user.update(devices=[{"platform": "ios"}]),
    "no-user": lambda user: user.pop("user_id"),
    "platform": lambda user: user.update(devices=[{"platform": "pager", "token": "x" * 20}]),
    "type": lambda user: user.update(devices="none"),
    "empty": lambda user: user.update(devices=[]),
    "attributes": lambda user: user.update(attributes=7),
}
"""Kinds of broken records that can be mixed in."""


class Recipe(msgspec.Struct, frozen=True):
    """What the file holds.

    Args:
        users: how many records.
        seed: of the random numbers.
        broken: how many broken records, of all kinds in turn.
        duplicates: how many records repeat the token of an earlier one.
        ios_share: 0 to 1.
        prefix: put before every token: what the stand-ins answer (`python -m sandbox.gateways --help`).
        dead_share: 0 to 1: so many tokens are dead, as the stand-ins say (prefix `dead-`).
        placeholders: title and body use attributes.
        variants: into how many the users outside the control group are split.
    """

    users: int = 100_000
    seed: int = 1
    broken: int = 0
    duplicates: int = 0
    ios_share: float = 0.5
    prefix: str = ""
    dead_share: float = 0.0
    placeholders: bool = False
    campaign_id: str = ""
    variants: int = 2


def campaign(recipe: Recipe) -> dict[str, object]:
    """Two variants, or as many as the recipe says, and a control group."""
    greeting = "Hi {{ first_name | default: 'there' }}" if recipe.placeholders else "Hello"
    body = "3 people you may know joined this week"
    return {
        "id": recipe.campaign_id or f"demo-{recipe.seed}-{recipe.users}",
        "message": {
            "title": greeting,
            "body": "{{ first_name }}, " + body if recipe.placeholders else body,
            "deep_link": "app://people",
            "data": {"screen": "people"},
            "ttl_s": 86_400,
        },
        "variants": _variants(recipe.variants, greeting),
        "control_percent": 10,
    }


def _variants(count: int, greeting: str) -> list[dict[str, object]]:
    """So many variants, which share 90 % as evenly as hundredths of a percent allow."""
    names = ["question", "statement", *(f"text-{n}" for n in range(3, count + 1))][:count]
    each, more = divmod(9_000, count)
    hundredths = [each + (1 if n < more else 0) for n in range(count)]
    variants: list[dict[str, object]] = [
        {"name": name, "percent": n / 100 if n % 100 else n // 100} for name, n in zip(names, hundredths, strict=True)
    ]
    variants[0]["message"] = {"title": f"{greeting}! Who joined?"}
    return variants


def users(recipe: Recipe) -> Iterator[dict[str, object]]:
    """The records, one by one."""
    draw = random.Random(recipe.seed)
    every = max(recipe.users // recipe.broken, 1) if recipe.broken else 0
    twice = max(recipe.users // recipe.duplicates, 2) if recipe.duplicates else 0
    kinds = list(BROKEN.values())
    last: dict[str, str] = {}
    for n in range(recipe.users):
        locale, timezone = PLACES[draw.randrange(len(PLACES))]
        ios = draw.random() < recipe.ios_share
        prefix = "dead-" if recipe.dead_share and draw.random() < recipe.dead_share else recipe.prefix
        device = {"platform": "ios" if ios else "android", "token": prefix + _token(draw, ios=ios)}
        if twice and n % twice == 1 and last:
            device = last
        last = device
        user: dict[str, object] = {
            "user_id": f"user-{recipe.seed}-{n:09d}",
            "devices": [device],
            "locale": locale,
            "timezone": timezone,
            "attributes": {"first_name": NAMES[draw.randrange(len(NAMES))]},
        }
        # One broken record in the middle of every stretch of `every`, the kinds in turn.
        if every and n % every == every // 2 and n // every < recipe.broken:
            kinds[n // every % len(kinds)](user)
        yield user


def _token(draw: random.Random, *, ios: bool) -> str:
    """Of the length real ones have: 64 hexadecimal digits from Apple, about 142 characters from Google."""
    if ios:
        return f"{draw.getrandbits(256):064x}"
    return f"{draw.getrandbits(88):022x}:APA91b{draw.getrandbits(450):0113x}"


def write(recipe: Recipe, out: IO[str]) -> None:
    """The whole batch file, users one to a line."""
    out.write('{"campaign": ' + json.dumps(campaign(recipe), ensure_ascii=False, indent=1) + ',\n"users": [\n')
    encode = msgspec.json.Encoder().encode
    for n, user in enumerate(users(recipe)):
        out.write((",\n" if n else "") + encode(user).decode())
    out.write("\n]}\n")


def make(recipe: Recipe, path: Path) -> Path:
    """Write the file. Returns its path."""
    with path.open("w", encoding="utf-8") as out:
        write(recipe, out)
    return path
