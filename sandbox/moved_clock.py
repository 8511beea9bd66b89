"""The approval pages with a clock that the sandbox's owner puts forward: what expires in days is tried in seconds.

`SANDBOX_CLOCK_FILE` names a file with the seconds to add to the time; read at every look at the clock. Answers at
sign-in take a tenth of their time, too.
"""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from approval import app, sign_in

_FILE = Path(os.environ["SANDBOX_CLOCK_FILE"])
HURRY = 10


def _clock() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=float(_FILE.read_text(encoding="ascii")))


app.clock = _clock
sign_in.ANSWER_S /= HURRY

handler = app.handler
authorizer = app.authorizer
