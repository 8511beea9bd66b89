"""How long the app waits for AWS, and how often it tries: settings of its boto3 clients.

A call of API Gateway must be answered within 28 seconds, the function's time-out (template.yaml).
"""

from botocore.config import Config

USUAL = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "max_attempts": 4})
COMMANDS = Config(connect_timeout=2, read_timeout=8, retries={"mode": "standard", "total_max_attempts": 1})
"""Of a run's pause and cancel: whoever waits for Lambda to have room again does not stop the run in time."""
ASK_TIMEOUTS_S = (2.0, 24.0)
"""To connect to a function whose answer is waited for, and to wait."""
ASKED_ONCE = Config(
    connect_timeout=ASK_TIMEOUTS_S[0],
    read_timeout=ASK_TIMEOUTS_S[1],
    retries={"mode": "standard", "total_max_attempts": 1},
)
"""Of a call that is repeated after its time-out each would be a look-up, an erasure, a step of its own."""
ASKED_BRIEFLY = Config(connect_timeout=1, read_timeout=6, retries={"mode": "standard", "total_max_attempts": 1})
"""Of what a page has room for, and can be shown without: so long takes a function that has to start first."""
ASKED_NEXT = Config(connect_timeout=1, read_timeout=11, retries={"mode": "standard", "total_max_attempts": 1})
"""Of a second question of one call, whose page is shown without its answer: both have to have room in the call."""
LINK_MAIL_TIMEOUTS_S = (0.5, 1.0)
"""To connect and to read, without a retry: a link is sent, or given up, before the answer (`sign_in.ANSWER_S`)."""
LINK_MAILS = Config(
    connect_timeout=LINK_MAIL_TIMEOUTS_S[0],
    read_timeout=LINK_MAIL_TIMEOUTS_S[1],
    retries={"mode": "standard", "total_max_attempts": 1},
)
