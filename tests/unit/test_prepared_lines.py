"""Lines of prepared parts as bytes: the same id and devices as a decoder finds, whatever texts are in the line."""

import json
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from audiences.cut_rules import HeldOut, Listed, PreparedUser, reason_by_id, reason_of, rules_of
from audiences.parts import PartWriter, WrittenPart
from audiences.prepared_lines import devices_in, id_in, order_of_id
from notifier.audience import IdSet
from notifier.model.holdout import NOBODY, Holdout
from notifier.model.keyed_id import KEY, keyed
from notifier.model.remainder import OtherPart

TRAPS = st.sampled_from(
    ['","devices":[', "\\", '\\"', '"', '{"platform":"', ',"attributes":{', '{"user_id":"', "é", "\u2028", "a", "],"]
)
MEMBERS = ("user_id", "devices", "locale", "timezone", "attributes")
TEXTS = st.lists(TRAPS | st.text(st.characters(exclude_categories=["Cs"]), max_size=3), min_size=1, max_size=4).map(
    "".join
)
DEVICES = st.lists(st.fixed_dictionaries({"platform": st.sampled_from(["ios", "web"]), "token": TEXTS}), max_size=3)
ATTRIBUTES = st.dictionaries(TEXTS | st.just("platform"), TEXTS, max_size=2)
USERS = st.fixed_dictionaries(
    {"user_id": TEXTS, "devices": DEVICES}, optional={"locale": TEXTS, "timezone": TEXTS, "attributes": ATTRIBUTES}
)


@given(USERS, st.booleans())
def test_what_is_found_without_decoding(user: dict[str, Any], is_escaped: bool) -> None:
    """Texts that look like the line's own form do not mislead; nor does text written with escapes."""
    # As preparation writes it: members in this order.
    user = {name: user[name] for name in MEMBERS if name in user}
    user["devices"] = [{name: one[name] for name in ("platform", "token")} for one in user["devices"]]
    line = json.dumps(user, ensure_ascii=is_escaped, separators=(",", ":")).encode() + b"\n"
    assert id_in(line).decode() == user["user_id"]
    assert devices_in(line) == len(user["devices"])


@given(
    st.lists(TEXTS), st.lists(TEXTS), st.lists(TEXTS, min_size=1),
    st.sampled_from([NOBODY, Holdout(3_000)]), st.sampled_from([None, OtherPart("salt", 5_000, is_remainder=True)]),
)  # fmt: skip
def test_the_same_reason_by_id(
    excluded: list[str], suppressed: list[str], ids: list[str], holdout: Holdout, other_part: OtherPart | None
) -> None:
    """The short way gives each user the reason that the rules give, those by a hash of the id among them."""
    rules = rules_of(IdSet(excluded), IdSet(suppressed), holdout, other_part)
    by_id = reason_by_id(rules)
    assert by_id is not None
    for user_id in (*ids, *excluded, *suppressed):
        assert by_id(user_id.encode()) == reason_of(PreparedUser(user_id, ()), rules)


def test_lists_with_keyed_hashes() -> None:
    """An erased user is on a list by a keyed hash alone: the short way finds that one as well."""
    key = bytes(range(32))
    rules = rules_of(IdSet(["u2"]), IdSet([KEY + key.hex(), keyed(key, "ü1")]))
    by_id = reason_by_id(rules)
    assert by_id is not None
    assert [by_id(one.encode()) for one in ("ü1", "u2", "u3")] == ["suppressed", "exclude", None]


def test_no_short_way_for_other_rules() -> None:
    """A rule that looks at more than the id is asked for each decoded user."""
    assert reason_by_id((*rules_of(IdSet(["a"]), IdSet()), lambda user: user.timezone)) is None
    # Nor where a list would come after what is drawn: the short way looks at lists first.
    drawn, listed = HeldOut(Holdout(3_000)), Listed(IdSet(["a"]), "suppressed")
    assert reason_by_id((drawn, listed)) is None


def test_the_order_of_an_id() -> None:
    """As preparation orders users."""
    assert order_of_id("ü".encode()) == PreparedUser("ü", ()).hash


def test_lines_are_parts_as_users_are(tmp_path: Path) -> None:
    """Written either way the parts are the same: bytes, batches, devices, where each begins."""
    users = [{"user_id": f"ü{n}", "devices": [{"platform": "ios", "token": "t"}] * (n % 3)} for n in range(1_700)]
    lines = [msgspec.json.encode(user) for user in users]
    hashed = [PreparedUser(str(user["user_id"]), ()).hash for user in users]
    texts = [(hashed[n], n % 3, line) for n, line in enumerate(lines)]
    stored = [(id_in(line), devices_in(line), line + b"\n") for line in lines]
    made: list[list[WrittenPart]] = []
    for name in ("texts", "lines"):
        writer = PartWriter(tmp_path / name, 1_000, 500)
        found: list[WrittenPart] = []
        for at in range(0, len(users), 700):
            some = writer.write(texts[at : at + 700]) if name == "texts" else writer.write_lines(stored[at : at + 700])
            found += some
        found += writer.end()
        made.append([msgspec.structs.replace(part, path=Path(part.path.name)) for part in found])
    assert made[0] == made[1]
    assert [part.users for part in made[0]] == [1_000, 700]
