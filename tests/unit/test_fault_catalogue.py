"""The fault catalogue can be looked at without changing anything."""

import notifier.run
from sandbox.faults.catalogue import scenarios


def test_listing_the_faults_leaves_the_product_alone() -> None:
    """The hurried times are for functions in processes of their own: nothing here is hurried by looking."""
    before = notifier.run.LEASE_MS
    assert len(scenarios()) > 40
    assert before == notifier.run.LEASE_MS == 30_000
