"""The ledger knows of a deferred batch, and of the round of it, before that is asked for."""

from notifier.model.run import Asking
from notifier.sending.asking import AskingList


def test_a_round_is_asked_for_once_the_ledger_knows_that_very_round() -> None:
    """The ledger's entry of the round before is no leave for the next one: a crash would lose its requests."""
    asking = AskingList((), epoch=2)
    assert not asking.may_ask(7, 3, ())
    known = asking.entries()
    assert known == (Asking(7, 3, (2,)),)
    assert asking.may_ask(7, 3, known)
    asking.begin(7)
    asking.finish(7)
    assert not asking.may_ask(7, 4, known), "announced"
    assert not asking.may_ask(7, 4, known), "the ledger still has round 3"
    assert asking.may_ask(7, 4, asking.entries())
