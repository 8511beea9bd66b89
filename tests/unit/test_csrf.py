"""The token of a session in forms: masked differently each time, and taken either way."""

import pytest

from approval.csrf import is_token, masked

TOKEN = "0123456789abcdef" * 2 + "01234567"


def test_masked_it_is_the_same_token() -> None:
    """Also plain, as in the parts that a page loads later; and one that is no hexadecimal."""
    assert is_token(TOKEN, TOKEN)
    assert all(is_token(masked(TOKEN), TOKEN) for _ in range(20))
    assert len({masked(TOKEN) for _ in range(20)}) == 20
    assert TOKEN not in masked(TOKEN)
    assert is_token(masked("säme"), "säme")


@pytest.mark.parametrize("given", ["", "0", "ä", "00" * 80, "ff" * 80, TOKEN[:-1], TOKEN * 4, masked(TOKEN[::-1])])
def test_nothing_else_is(given: str) -> None:
    """Whatever its form; and without a session there is no token at all."""
    assert not is_token(given, TOKEN)
    assert not is_token(given, "")
    assert masked("") == ""
