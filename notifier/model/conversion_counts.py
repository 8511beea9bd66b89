"""What came of a run's goal, counted: users and conversions by arm. The audience function keeps it as an object."""

import msgspec


class ArmCounts(msgspec.Struct, frozen=True):
    """One arm: its users, and those of them who converted."""

    arm: str
    users: int
    conversions: int


class Point(msgspec.Struct, frozen=True):
    """So many users of an arm had converted by so many hours after their own push."""

    arm: str
    hours: float
    conversions: int


class ConversionCounts(msgspec.Struct, frozen=True):
    """Conversions of one run, by arm. Times: ISO 8601, UTC. Public: objects of earlier releases are read, too.

    Attributes:
        complete_through: up to when the source says that they are complete; None where it does not say.
        is_final: every user's window is over, and they are complete.
        seen: converting users, of whom `unknown` are in no row of the run: many of them mean other ids.
        unreadable: conversions whose time cannot be read: they are left out.
        until: only those before this time were counted; None: all.
        changed: why the source is another one than the campaign's approval covers; "" where it is not.
    """

    arms: tuple[ArmCounts, ...]
    curve: tuple[Point, ...]
    first_at: str
    last_at: str
    complete_through: str | None
    is_final: bool
    seen: int = 0
    unknown: int = 0
    unreadable: int = 0
    until: str | None = None
    changed: str = ""

    @property
    def unknown_share(self) -> float:
        """0 to 1."""
        return self.unknown / self.seen if self.seen else 0.0

    @property
    def figures(self) -> dict[str, tuple[int, int]]:
        """Users and conversions by arm."""
        return {one.arm: (one.users, one.conversions) for one in self.arms}
