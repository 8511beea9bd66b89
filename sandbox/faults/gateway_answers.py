"""What FCM and APNs answer: statuses, bodies and delays. The answers themselves are in `answers.py`."""

from sandbox.faults.scenario import Scenario

SCENARIOS = (
    # The everyday case: a retry per device must not slow the run.
    Scenario(
        name="one-percent-503",
        breaks="Every hundredth request gets a 503.",
        expects="They are asked for again.",
        behaviour="sandbox.faults.answers:one_in_a_hundred_unavailable",
    ),
    # The rate limit of one gateway must not hold the other, and `Retry-After` counts.
    Scenario(
        name="storm-429",
        breaks="FCM answers 400 requests in a row by 429 with Retry-After.",
        expects="FCM is asked more slowly, APNs is not; no device fails.",
        behaviour="sandbox.faults.answers:storm",
        in_gate=True,
    ),
    # Longer than all attempts of a device together: only waits outside the attempts can bridge it.
    Scenario(
        name="two-minute-outage",
        breaks="From its 20th request on each gateway answers everything with 503, for two minutes.",
        expects="No device fails: refusals in an outage do not count as attempts, and the run rests meanwhile.",
        behaviour="sandbox.faults.answers:away_for_two_minutes",
        users=200,  # few enough that all of them are tried over and over within the outage
        give_up_s=420.0,
    ),
    # A slow answer occupies a stream, not a connection.
    Scenario(
        name="half-slow",
        breaks="Half of all answers take 0.7 s.",
        expects="The others are not kept waiting.",
        behaviour="sandbox.faults.answers:half_slow",
        users=1_000,
    ),
    # Silence after sending: the push may be out, so the second request may be a repeat.
    Scenario(
        name="never-an-answer",
        breaks="A fiftieth of the devices is not answered at the first attempt.",
        expects="They are asked for again when the request's time is over, and counted as possibly repeated.",
        behaviour="sandbox.faults.answers:silent",
        variables={"REQUEST_TIMEOUT_MS": "1000"},
    ),
    # Proxies and load balancers answer in HTML: the status decides, the body is not parsed as JSON.
    Scenario(
        name="html-body",
        breaks="A tenth of the devices is first answered by a page of HTML.",
        expects="They are asked for again.",
        behaviour="sandbox.faults.answers:html",
    ),
    # Nothing to read a reason from.
    Scenario(
        name="no-body",
        breaks="A tenth of the devices is first answered by a 500 without a body.",
        expects="They are asked for again.",
        behaviour="sandbox.faults.answers:no_body",
    ),
    # JSON of another shape must not raise while a reason is looked for.
    Scenario(
        name="rubbish-body",
        breaks="A tenth of the devices is first answered by JSON of the wrong shape, or no JSON.",
        expects="They are asked for again.",
        behaviour="sandbox.faults.answers:rubbish",
    ),
    # Some 5xx come after the push was accepted, some instead of it: only the first kind may be repeats.
    Scenario(
        name="ambiguous-5xx",
        breaks=(
            "A tenth of the devices gets the push and 500, 502, 504 or 520 for an answer; a tenth gets 503 and no push."
        ),
        expects="The former are asked for again in a later round and counted as possibly repeated; the latter are not.",
        behaviour="sandbox.faults.answers:ambiguous",
    ),
    # A status that would concern everybody, seen once, is no reason to stop the run.
    Scenario(
        name="one-odd-answer",
        breaks="FCM answers one device by a 404 page and one by a 403 page, APNs by a bare 403 and by Forbidden.",
        expects="Those devices are asked for again and accepted; the run goes on.",
        behaviour="sandbox.faults.answers:odd",
        in_gate=True,
    ),
    # The same status from everybody is a reason to stop, and no device's fault.
    Scenario(
        name="nothing-but-pages",
        breaks="After 200 acceptances FCM's address answers everything by a 404 page of HTML.",
        expects="The run stops after a few hundred requests at most; no device is refused for it.",
        behaviour="sandbox.faults.answers:nothing_but_pages",
        users=6_000,
        status="stopped",
        reason="^http_404: ",
    ),
    # One refused payload among accepted ones is about that device alone.
    Scenario(
        name="one-poisoned-record",
        breaks="FCM refuses the payload of one device.",
        expects="That device is rejected, the run goes on.",
        behaviour="sandbox.faults.answers:poison",
        rejected=1,
        in_gate=True,
    ),
    # Counted by variant no threshold would be reached; counted over all variants it is.
    Scenario(
        name="payload-refused-many-arms",
        breaks="Both gateways refuse every payload; forty variants share the devices.",
        expects="The run stops within two hops, although no variant was refused often.",
        behaviour="sandbox.faults.answers:payload_for_nobody",
        users=6_000,
        variants=40,
        status="stopped",
        reason="^payload_refused: ",
        max_hops=2,
        give_up_s=60.0,
    ),
)
