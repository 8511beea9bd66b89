"""What `count` and `validate` say of those who would be left out as of now."""

from operations.cli.left_out import Lists, in_words
from operations.dry_check import Inspector


def test_the_first_reason_counts() -> None:
    """A user on two lists is counted once, by the list that comes first; lists without anybody are not named."""
    lists = Lists(((("a",), "exclude"), (("a", "b", "x"), "suppressed"), ((), "holdout")))
    found = lists.of_users(["a", "b", "c"])
    assert (found.users, dict(found.left_out)) == (3, {"exclude": 1, "suppressed": 1})
    assert in_words(found.users, found.left_out) == (
        "at most 3 users; about 2 would be left out as of now: 1 on the exclude list, 1 want no pushes"
    )
    assert in_words(1, {}) == "at most 1 user; nobody would be left out as of now"


def test_validate_counts_each_user_once() -> None:
    """A user of several rows, which stand together, is one; without a stack nothing is said."""
    inspector = Inspector("x", lambda _: iter(()), 5, 0.0)
    assert inspector.found.left_out is None
    inspector.leave_out(lambda user_id: "suppressed" if user_id == "a" else None)
    device = {"platform": "web", "token": "t" * 20}
    records: list[object] = [
        {"user_id": one, **device, "token": f"{n}-{'t' * 20}"} for n, one in enumerate(["a", "a", "b"])
    ]
    inspector.take_records(iter([records]), lambda _: None)
    assert inspector.finish().left_out == {"suppressed": 1}
