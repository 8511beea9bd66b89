"""A goal and a winner on the pages: chosen, with how likely the audience is to show it, approved, in the batch file."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256

import pytest

from approval.form import read_form
from approval.form_campaign import read_campaign_of
from approval.goals import power_in_words, read_base
from notifier.model.campaign_reading import read_campaign
from notifier.model.goal_source import hash_of
from tests.approval_site import ANN, BOB, BUCKET, FORM, World, decision, moto_server, new_request

DECLARED = json.dumps({"files": ["standing/e/"], "complete": {"marker": "standing/m"}}).encode()
GOAL = {"goal": "opened", "goal_window_h": "24", "goal_lift_percent": "20", "goal_base_percent": "5"}
WINNER = {"test_percent": "20", "decide_after_h": "24", "decide_by_h": "48", "otherwise": "best"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An AWS."""
    with moto_server() as address:
        yield address


def test_from_the_form_to_the_batch_file(endpoint: str) -> None:
    """Approvers see the goal, its source's fingerprint, the power and the winner; what is approved has all of it."""
    world = World(endpoint)
    ann, bob = world.browser(ANN), world.browser(BOB)
    s3 = world.client("s3")
    s3.put_object(Bucket=BUCKET, Key="conversions/opened.json", Body=DECLARED)
    id_ = new_request(ann, world, form={**FORM, **GOAL, **WINNER})
    page = bob.get(f"/requests/{id_}").body
    digest = sha256(DECLARED).hexdigest()
    for words in (
        "opened, within 24 hours", digest[:16], "20 % of the users. 24 hours after the last push",
        "the arm with the highest rate, without evidence", "Your approval covers both.",
        "To show a rise of 20 %, from 5.0 % to 6.0 %,", "With 100 users, the test part shows such a rise",
        "times in 100",
    ):  # fmt: skip
        assert words in page, words
    assert bob.post(f"/requests/{id_}/approve", decision(bob, id_)).status == 303
    body = s3.get_object(Bucket=BUCKET, Key=f"batches/{id_}.json")["Body"].read()
    campaign = read_campaign(json.loads(body)["campaign"])
    assert campaign.goal is not None
    assert (campaign.goal.conversions_sha256, campaign.goal.smallest_lift_percent) == (digest, 20)
    assert campaign.winner is not None
    assert (str(campaign.winner.test_percent), campaign.winner.otherwise) == ("20", "best")


def test_another_source_is_another_content(endpoint: str) -> None:
    """The source's hash is a part of what is approved: the same form over another source has another fingerprint."""
    world = World(endpoint)
    ann, s3 = world.browser(ANN), world.client("s3")
    found = []
    for n in range(2):
        s3.put_object(Bucket=BUCKET, Key="conversions/opened.json", Body=DECLARED + b" " * n)
        id_ = new_request(ann, world, form={**FORM, **GOAL, "name": f"goal-{n}", "experiment": "e"})
        found.append(world.browser(BOB).get(f"/requests/{id_}").body)
    assert sha256(DECLARED).hexdigest()[:16] in found[0]
    assert sha256(DECLARED).hexdigest()[:16] not in found[1]


def test_a_source_that_names_a_query(endpoint: str) -> None:
    """The query's SQL and description are a part of what is approved; without one of them its field has a fault."""
    world = World(endpoint)
    ann, s3 = world.browser(ANN), world.client("s3")
    declared = json.dumps({"query": {"name": "who-opened"}, "complete": {"marker": "standing/m"}}).encode()
    texts = {"queries/who-opened.sql": b"SELECT 1", "queries/who-opened.json": b"{}"}
    s3.put_object(Bucket=BUCKET, Key="conversions/opened.json", Body=declared)
    s3.put_object(Bucket=BUCKET, Key="queries/who-opened.sql", Body=texts["queries/who-opened.sql"])
    id_ = ann.post("/requests").location.rpartition("/")[2]
    page = ann.post(f"/requests/{id_}", {**FORM, **GOAL, "version": "0", "do": "submit"}).body
    assert "conversions/opened.json names a query, and there is no queries/who-opened.json." in page
    s3.put_object(Bucket=BUCKET, Key="queries/who-opened.json", Body=texts["queries/who-opened.json"])
    found = []
    for n in range(2):
        s3.put_object(Bucket=BUCKET, Key="queries/who-opened.sql", Body=texts["queries/who-opened.sql"] + b" " * n)
        id_ = new_request(ann, world, form={**FORM, **GOAL, "name": f"query-{n}", "experiment": "e"})
        found.append(world.browser(BOB).get(f"/requests/{id_}").body)
    words = f"and of the queries that it names <code>{hash_of(texts)[:16]}</code>"
    assert [words in page for page in found] == [True, False]
    # For the tests after this one.
    s3.put_object(Bucket=BUCKET, Key="conversions/opened.json", Body=DECLARED)


def test_a_goal_without_a_source(endpoint: str) -> None:
    """Nothing would be counted: it is refused at its field."""
    world = World(endpoint)
    ann = world.browser(ANN)
    id_ = ann.post("/requests").location.rpartition("/")[2]
    wrong = {**FORM, **GOAL, "goal": "nowhere", "version": "0", "do": "submit"}
    page = ann.post(f"/requests/{id_}", wrong).body
    assert "No conversions/nowhere.json says where its conversions are." in page


def test_faults_at_their_fields() -> None:
    """Hours that are none, an estimate that is none, a winner without a goal, hours in the wrong order."""
    typed = {**FORM, **GOAL, **WINNER, "goal": "", "goal_base_percent": "lots", "decide_after_h": "soon"}
    form = read_form({name: [value] for name, value in typed.items()})
    campaign, faults = read_campaign_of(form, datetime.now(UTC))
    assert campaign is None
    assert faults["goal_base_percent"] == "A percentage, such as 5 or 1.25."
    assert faults["decide_after_h"] == "A whole number of hours."
    assert faults["test_percent"].startswith("Choose a goal")
    typed = {**FORM, **GOAL, **WINNER, "decide_by_h": "12"}
    _, faults = read_campaign_of(read_form({name: [value] for name, value in typed.items()}), datetime.now(UTC))
    assert faults == {"decide_by_h": "Not earlier than the hour of the decision."}


def test_power_in_words() -> None:
    """R's example of the facts page: .50 against .75 needs 77 in each arm, at a power of 90 %; here at 80 %, 58."""
    plain = {
        "id": "c", "message": {"title": "t"}, "control_percent": 50, "variants": [{"name": "a", "percent": 50}],
        "goal": {"name": "opened", "window_h": 24, "smallest_lift_percent": 50},
    }  # fmt: skip
    said = power_in_words(read_campaign(plain), 0.5, 115)
    assert said[0] == "To show a rise of 50 %, from 50.0 % to 75.0 %, 115 users are needed in all."
    assert said[1] == "With 115 users, this audience shows such a rise 80 times in 100."
    assert said[2].startswith("The smallest rise that it shows 4 times of 5 is 5")
    assert "once you estimate" in power_in_words(read_campaign(plain), None, 115)[0]
    assert power_in_words(read_campaign({**plain, "goal": None}), 0.5, 115) == ()
    assert (read_base("5 %"), read_base("1,25"), read_base("0"), read_base("NaN"), read_base("x")) == (
        0.05, 0.0125, None, None, None,
    )  # fmt: skip
