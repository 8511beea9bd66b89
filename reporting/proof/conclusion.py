"""What an audit says: proved, or the first place where it is not; or which evidence is gone."""

import enum

import msgspec


class NotProved(Exception):
    """Something is not as it was decided or written. `place` is the object, `problem` what is wrong with it."""

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(f"{place}: {problem}")
        self.place = place
        self.problem = problem


class CannotProve(Exception):
    """Evidence is missing, as it is when files have expired. The message says which, and why it may be so."""


class Conclusion(enum.StrEnum):
    """The outcome of an audit."""

    PROVED = "proved"
    NOT_PROVED = "not_proved"
    CANNOT_PROVE = "cannot_prove"


class Step(msgspec.Struct, frozen=True):
    """One link of the chain that holds: what was compared, and with which figures."""

    name: str
    found: str


class Audit(msgspec.Struct, frozen=True):
    """An audit. `steps` are the links that hold, up to the first that does not."""

    run_id: str
    conclusion: Conclusion
    steps: tuple[Step, ...]
    place: str = ""
    problem: str = ""
    rows: int = 0
    erased: int = 0

    @property
    def in_words(self) -> str:
        """The last line: `proved`, `proved, 3 erased`, or why not."""
        match self.conclusion:
            case Conclusion.PROVED:
                return f"proved, {self.erased:,} erased" if self.erased else "proved"
            case Conclusion.NOT_PROVED:
                return f"NOT proved: {self.place}: {self.problem}"
            case Conclusion.CANNOT_PROVE:
                return f"cannot be proved: {self.problem}"
