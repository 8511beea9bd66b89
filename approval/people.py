"""Who may do what: addresses, and the roles that the template's parameters give them."""

import re

import msgspec

_ADDRESS = re.compile(r"[a-z0-9._%+'=/-]{1,64}@[a-z0-9](?:[a-z0-9.-]{0,250}[a-z0-9])?")


class Person(msgspec.Struct, frozen=True):
    """Somebody who signed in."""

    email: str
    is_requester: bool = False
    is_approver: bool = False

    @property
    def is_known(self) -> bool:
        """Whether there is anything here for them."""
        return self.is_requester or self.is_approver


def address_of(text: str) -> str | None:
    """The mail address in what somebody typed, in lower case; None when it is none."""
    text = text.strip().lower()
    return text if len(text) <= 254 and ".." not in text and _ADDRESS.fullmatch(text) else None


def person(email: str, requesters: tuple[str, ...], approvers: tuple[str, ...]) -> Person:
    """The roles of an address, by the lists as they are now."""
    return Person(email, is_in(email, requesters), is_in(email, approvers))


def is_in(email: str, people: tuple[str, ...]) -> bool:
    """Whether a list names the address, or its domain."""
    domain = email.rpartition("@")[2]
    return email in people or f"@{domain}" in people or domain in people


def addresses(people: tuple[str, ...]) -> tuple[str, ...]:
    """The entries that are addresses: a domain cannot be written to."""
    return tuple(entry for entry in people if address_of(entry))


def domains(people: tuple[str, ...]) -> tuple[str, ...]:
    """The entries that are domains, without the @."""
    return tuple(entry.removeprefix("@") for entry in people if not address_of(entry))


def named(text: str) -> tuple[str, ...]:
    """The addresses that somebody typed, with commas or spaces between them; what is none stays as it is."""
    return tuple(dict.fromkeys(word.lower() for word in re.split(r"[\s,;]+", text) if word))


def mail_recipients(chosen: tuple[str, ...], requester: str, approvers: tuple[str, ...]) -> tuple[str, ...]:
    """Who gets a mail about a request: approvers who stand there by address, and those whom the requester has named."""
    everybody = dict.fromkeys((*addresses(approvers), *chosen))
    return tuple(email for email in everybody if address_of(email) and email != requester and is_in(email, approvers))
