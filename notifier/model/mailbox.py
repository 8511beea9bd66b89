"""Whether two mail addresses are one person's: four eyes must not be one pair with two addresses."""

_DOTS_IGNORED = {"gmail.com": "gmail.com", "googlemail.com": "gmail.com"}
"""Domains whose mailboxes ignore dots before the @, by the name that stands for both.

Source: https://support.google.com/mail/answer/7436150.
"""


def mailbox_of(email: str) -> str:
    """The address without what does not change who reads its mail: case, a `+tag`, and Gmail's dots."""
    local, _, domain = email.strip().lower().rpartition("@")
    local = local.partition("+")[0] or local  # an address that begins with the + has no other name
    if domain in _DOTS_IGNORED:
        local, domain = local.replace(".", ""), _DOTS_IGNORED[domain]
    return f"{local}@{domain}"


def is_same_person(one: str, other: str) -> bool:
    """Whether two addresses are one person's, as far as addresses can show it."""
    return mailbox_of(one) == mailbox_of(other)
