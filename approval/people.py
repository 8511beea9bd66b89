"""Mail addresses, and the roles that the template's parameters give them."""

import re

import msgspec

from notifier.model.mailbox import is_same_person, mailbox_of

MAX_ADDRESS_CHARS = 254
"""RFC 5321."""
_ADDRESS = re.compile(r"[a-z0-9._%+'=/-]{1,64}@[a-z0-9](?:[a-z0-9.-]{0,250}[a-z0-9])?")


class Person(msgspec.Struct, frozen=True):
    """An address with its roles."""

    email: str
    is_requester: bool = False
    is_approver: bool = False
    is_officer: bool = False
    """A privacy officer: who alone may find, export and erase people."""

    @property
    def is_known(self) -> bool:
        """Whether they have any role here."""
        return self.is_requester or self.is_approver or self.is_officer

    @property
    def is_officer_alone(self) -> bool:
        """Whether they are here to find and erase people, and for nothing else."""
        return self.is_officer and not (self.is_requester or self.is_approver)


def address_of(text: str) -> str | None:
    """The mail address in a typed text, in lower case; None when it is none."""
    text = text.strip().lower()
    return text if len(text) <= MAX_ADDRESS_CHARS and ".." not in text and _ADDRESS.fullmatch(text) else None


def person(
    email: str, requesters: tuple[str, ...], approvers: tuple[str, ...], officers: tuple[str, ...] = ()
) -> Person:
    """An address with its roles, by the lists of the settings."""
    # Officers are named one by one: a domain would let in a whole company.
    return Person(email, is_in(email, requesters), is_in(email, approvers), email in addresses(officers))


def is_in(email: str, people: tuple[str, ...]) -> bool:
    """Whether a list holds the address, or its domain (with or without the @)."""
    domain = email.rpartition("@")[2]
    return email in people or f"@{domain}" in people or domain in people


def may_sign_in(email: str, people: tuple[str, ...]) -> bool:
    """Whether a list holds the address itself; or its domain, and the address has no tag.

    Under a domain everybody could invent addresses of their own: `eve+a@` and `eve+b@` are one mailbox.
    """
    return email in people or ("+" not in email and is_in(email, people))


def addresses(people: tuple[str, ...]) -> tuple[str, ...]:
    """The entries that are addresses: no mail can be sent to a domain."""
    return tuple(entry for entry in people if address_of(entry))


def domains(people: tuple[str, ...]) -> tuple[str, ...]:
    """The entries that are domains, without the @."""
    return tuple(entry.removeprefix("@") for entry in people if not address_of(entry))


def named(text: str) -> tuple[str, ...]:
    """The words of a typed list of addresses, in lower case, each once. Those that are no address stay in it."""
    return tuple(dict.fromkeys(word.lower() for word in re.split(r"[\s,;]+", text) if word))


def mail_recipients(chosen: tuple[str, ...], requester: str, approvers: tuple[str, ...]) -> tuple[str, ...]:
    """Who gets a mail about a request: approvers listed by address, and those whom the requester has named."""
    found: dict[str, str] = {}
    for email in (*addresses(approvers), *chosen):
        # By mailbox: one person gets one mail, at the address in the settings.
        if address_of(email) and not is_same_person(email, requester) and may_sign_in(email, approvers):
            found.setdefault(mailbox_of(email), email)
    return tuple(found.values())
