"""Lines of prepared parts, looked at as bytes: preparation writes each in one form, so that little has to be decoded.

`{"user_id":"…","devices":[{"platform":"…","token":"…"…}…],…,"attributes":{…}}`
"""

import hashlib

import msgspec

_BEGIN = b'{"user_id":"'
_END_OF_ID = b'","devices":['
_DEVICE = b'{"platform":"'
_ATTRIBUTES = b',"attributes":{'


class _WithId(msgspec.Struct):
    user_id: str


_decoded = msgspec.json.Decoder(_WithId).decode


def id_in(line: bytes) -> bytes:
    """The user id, in UTF-8."""
    # In a text, JSON writes a quote behind a backslash: the first quote without one ends the id.
    end = line.find(_END_OF_ID, len(_BEGIN))
    if end > 0 and line.startswith(_BEGIN):
        found = line[len(_BEGIN) : end]
        if b"\\" not in found:
            return found
    return _decoded(line).user_id.encode()


def devices_in(line: bytes) -> int:
    """How many devices the user has."""
    # Attributes may have an object that looks like a device. Before them no text holds a quote without a backslash.
    end = line.find(_ATTRIBUTES, len(_BEGIN))
    return line.count(_DEVICE, 0, end if end > 0 else len(line))


def order_of_id(user_id: bytes) -> int:
    """The first 8 bytes of the id's SHA-256, by which prepared users are ordered."""
    return int.from_bytes(hashlib.sha256(user_id).digest()[:8], "big")
