"""The lanes that share a rate: each enters itself in the ledger, again and again, for as long as it works.

So every lane knows how many there are. One that dies, or cannot reach the ledger, lapses, and the others share what it
had. Only lanes of runs that have several enter themselves; the others are counted by their leases.
"""

from collections.abc import Mapping

import msgspec

MEMBER_MS = 24_000
"""A lane that has not entered itself for so long is no member. Longer than a worker sends without a ledger (20 s)."""


class Tally(msgspec.Struct, omit_defaults=True):
    """What a lane has seen of the gateways, as far as it shows whose fault refusals are. Added up over the other lanes.

    Args:
        accepted: endpoints and arms that had a device accepted, as `fcm/arm`.
        answers, dead: by endpoint, all answers, and those that said only that the token is dead.
        refused: the refusals that could be our fault, as `fcm/arm/suspicion`.
        streaks: by endpoint, devices refused as everything is, since the last acceptance.
    """

    accepted: set[str] = set()
    answers: dict[str, int] = {}
    dead: dict[str, int] = {}
    refused: dict[str, int] = {}
    streaks: dict[str, int] = {}

    def add(self, other: "Tally") -> None:
        """Take in another lane's."""
        self.accepted |= other.accepted
        for ours, theirs in (
            (self.answers, other.answers),
            (self.dead, other.dead),
            (self.refused, other.refused),
            (self.streaks, other.streaks),
        ):
            for name, n in theirs.items():
                ours[name] = ours.get(name, 0) + n


class Member(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a lane says of itself.

    Args:
        until_ms: it is a member until then.
        sending_ms: for how long it has sent: the ramp's input, which is the run's.
        tally: what it has seen of the gateways: refusals are judged over the run.
        rests: until its share of the run's rate, less than one a second, lets it go on. It keeps that share; of FCM's
            budget it needs none.
    """

    until_ms: int
    sending_ms: int = 0
    tally: Tally | None = None
    rests: bool = False


class Membership(msgspec.Struct, frozen=True):
    """Who shares, as the ledger has it.

    Args:
        members: by name (`member_name`), lapsed ones among them.
        alone: how many lanes of runs that have one lane are at work.
    """

    members: Mapping[str, Member]
    alone: int = 0

    def present(self, now_ms: int) -> dict[str, Member]:
        """The members that have not lapsed."""
        return {name: member for name, member in self.members.items() if member.until_ms > now_ms}

    def fcm_users(self, now_ms: int) -> int:
        """How many lanes share FCM's budget."""
        return self.alone + sum(not member.rests for member in self.present(now_ms).values())


def lapsed(member: Member, now_ms: int) -> Member:
    """The member, when its lane does not work any more."""
    return msgspec.structs.replace(member, until_ms=now_ms)


def member_name(run_id: str, lane: int) -> str:
    """The name of a lane among the members. Those of one run begin alike."""
    return f"{run_id}_{lane:04d}"
