"""How fast an erasure looks through a file, in CPU time (`python -m tests.bench.looking`)."""

import json
import random
import time
from functools import cache

from notifier.model.keyed_id import keyed
from privacy.erased_bytes import listed
from privacy.id_shapes import Shapes, shape_of
from privacy.records import Unreadable
from privacy.suspicion import has_user
from privacy.whom import Whom

KEY = b"k" * 32
GONE = ["ann.lee@example.com", "ann@example.com", "auth0|5f7c", "jane doe", "17", "1234567", "rows"]
GONE += [f"user-{n}" for n in range(1_000)]
LINES, WORDS = 20_000, 150_000


@cache
def files() -> dict[str, str]:
    """What is usual, and what is the worst that could be thought of."""
    some = random.Random(1)
    table = "customer,token,n\n" + "".join(f"other-{n},{'ab' * 16},{n % 7}\n" for n in range(LINES))
    return {
        "records with user_id": "".join(
            json.dumps({"user_id": f"x-{n}", "token": "ab" * 32}) + "\n" for n in range(LINES)
        ),
        "records without": "".join(json.dumps({"customer": f"x-{n}", "amount": n}) + "\n" for n in range(LINES)),
        "a table with user_id": table.replace("customer", "user_id"),
        "a table without": table,
        "a text": " ".join("".join(some.choices("abcdefgh", k=some.randint(2, 9))) for _ in range(WORDS)),
        "punctuation": "-,;| " * 200_000,
        "words of a letter": "a-" * 500_000,
        "addresses in each other": "a.a@a." * 170_000,
        "words for a user": "user" * 250_000,
        "escapes": "\\u00fc " * 140_000,
        "quotes": "\"'," * 300_000,
        "an erased number": "17," * 300_000,
    }


def looked_through(body: bytes, whom: Whom) -> object:
    """As an erasure's last pass does."""
    try:
        return listed(body, whom, looks=True).unread
    except Unreadable:
        return has_user(body, whom)


def main() -> None:
    shapes = Shapes(map(shape_of, GONE), are_all=True)
    for name, text in files().items():
        whom = Whom(KEY, [keyed(KEY, one) for one in GONE], shapes=shapes)
        looked_through(b"DuckDB is imported with the first table\n", whom)
        began = time.process_time()
        looked_through(text.encode(), whom)
        took = time.process_time() - began
        print(f"{name:24} {len(text) / 1e6:5.2f} MB {took:5.2f} s {len(text) / 1e6 / took:6.1f} MB/s", flush=True)


if __name__ == "__main__":
    main()
