"""Expressions of DynamoDB's requests, as the client takes them."""

from boto3.dynamodb.conditions import Attr, Key

from notifier.dynamodb import IS_NEW, Update, condition_of, item_of, query_of


def test_an_update_with_every_clause() -> None:
    """Each attribute has a placeholder of its name, and each value is typed."""
    update = Update().set(state="ready", fed=3).set_first(ended_at_ms=7).add(epoch=1).remove("reason", "due")
    assert update.arguments() == {
        "UpdateExpression": (
            "SET #state = :state, #fed = :fed, #ended_at_ms = if_not_exists(#ended_at_ms, :ended_at_ms)"
            " ADD #epoch :epoch REMOVE #reason, #due"
        ),
        "ExpressionAttributeNames": {
            "#state": "state",
            "#fed": "fed",
            "#ended_at_ms": "ended_at_ms",
            "#epoch": "epoch",
            "#reason": "reason",
            "#due": "due",
        },
        "ExpressionAttributeValues": {
            ":state": {"S": "ready"},
            ":fed": {"N": "3"},
            ":ended_at_ms": {"N": "7"},
            ":epoch": {"N": "1"},
        },
    }


def test_conditions_of_an_update_are_all_to_be_met() -> None:
    """Each is joined with AND to those before it, with placeholders of its own."""
    update = Update().set(state="done").only_if(Attr("epoch").eq(2))
    arguments = update.only_if(Attr("state").eq("running") | Attr("state").not_exists()).arguments()
    assert arguments["ConditionExpression"] == "(#n0 = :v0 AND (#n1 = :v1 OR attribute_not_exists(#n2)))"
    assert arguments["ExpressionAttributeNames"] == {"#state": "state", "#n0": "epoch", "#n1": "state", "#n2": "state"}
    assert arguments["ExpressionAttributeValues"] == {
        ":state": {"S": "done"},
        ":v0": {"N": "2"},
        ":v1": {"S": "running"},
    }


def test_an_update_is_never_changed() -> None:
    """What extends it makes another one, so that one update can be the beginning of several."""
    first = Update().set(a=1)
    first.set(a=2, b=3).add(c=1).remove("d").only_if(IS_NEW)
    assert first == Update({"a": 1})


def test_an_update_that_only_removes_has_no_values() -> None:
    """DynamoDB refuses placeholders that are given and empty."""
    assert Update().remove("due").arguments() == {
        "UpdateExpression": "REMOVE #due",
        "ExpressionAttributeNames": {"#due": "due"},
    }


def test_a_conditional_put() -> None:
    """A condition without a value has none."""
    assert condition_of(IS_NEW) == {
        "ConditionExpression": "attribute_not_exists(#n0)",
        "ExpressionAttributeNames": {"#n0": "pk"},
    }


def test_a_query_with_a_filter() -> None:
    """Key and filter have placeholders of one count."""
    assert query_of(Key("due").eq("lane"), only=Attr("state").eq("running")) == {
        "KeyConditionExpression": "#n0 = :v0",
        "FilterExpression": "#n1 = :v1",
        "ExpressionAttributeNames": {"#n0": "due", "#n1": "state"},
        "ExpressionAttributeValues": {":v0": {"S": "lane"}, ":v1": {"S": "running"}},
    }


def test_numbers_keep_every_digit() -> None:
    """Milliseconds since the epoch are written as whole numbers, never with an exponent."""
    assert item_of({"at_ms": 1_795_000_000_000, "pk": "run#1"}) == {
        "at_ms": {"N": "1795000000000"},
        "pk": {"S": "run#1"},
    }
