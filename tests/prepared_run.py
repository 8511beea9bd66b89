"""A run over a prepared audience in S3: prepared and cut by the audience function's own code, sent by `made_run`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from audiences.build import Order, build
from audiences.cut import CutOrder, cut_folder, make_cut
from audiences.cut_rules import rules_of
from audiences.database import Limits
from audiences.destinations import Bucket
from audiences.manifest_format import NAME, folder_of
from audiences.sources import local_files
from notifier.audience import IdSet
from notifier.lifecycle.admitted import AdmittedCampaign
from notifier.lifecycle.final_cut import CUT
from notifier.model.account import Account
from notifier.model.campaign import Campaign
from notifier.model.cut import CutParts, Window
from notifier.model.preparation import ManifestParts
from notifier.model.run import Ending, source_of
from notifier.model.user_rows import BATCH_SIZE
from notifier.stores.s3_results import S3Results
from tests.made_run import MadeRun, Sender, close

WINDOWS = (Window(0, 0, 0, 0), Window(1, 0, 0, 0))


def make_prepared_run(
    client: Any,
    bucket: str,
    campaign: Campaign,
    people: Sequence[dict[str, Any]],
    now_s: float,
    folder: Path,
    *,
    suppressed: Sequence[str] = (),
    max_users: int = 500,
) -> MadeRun:
    """A run whose users were prepared in parts, and cut into two windows, which leaves out those who are suppressed.

    Args:
        folder: on this disk, for the audience function's work.
    """
    path = folder / "users.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in people), encoding="utf-8")
    destination, request = Bucket(client, bucket), {"files": ["users.jsonl"]}
    order = Order(request, local_files([str(path)]), max_users=max_users)
    made = build(order, destination, Limits(folder / "prepare", 200))
    prepared = folder_of(made.id) + NAME
    encode = msgspec.json.Encoder(decimal_format="number").encode
    key = f"batches/{campaign.id}.json"
    put = client.put_object(Bucket=bucket, Key=key, Body=encode({"campaign": campaign, "audience": request}))
    source = source_of(bucket, key, put.get("VersionId"), put["ETag"])
    cut = CutOrder(
        source.run_id, 1, prepared, made.parts, rules_of(IdSet(), IdSet(suppressed)), "2026-11-28T09:00:00+00:00",
        WINDOWS, lambda user: user.hash % 2, max_users=max_users, devices=made.counts.devices,
    )  # fmt: skip
    make_cut(cut, client, destination, folder / "cut")

    def stored(name: str) -> bytes:
        body: bytes = client.get_object(Bucket=bucket, Key=name)["Body"].read()
        return body

    parts = msgspec.json.decode(stored(prepared), type=ManifestParts).parts
    admitted = AdmittedCampaign(campaign, tuple(part.pinned for part in parts), False, (), False, prepared=prepared)
    results = S3Results(client, bucket)
    results.put_state(source.run_id, "campaign", admitted)
    found = msgspec.json.decode(stored(cut_folder(source.run_id) + NAME), type=CutParts)
    results.put_state(source.run_id, CUT, found)
    sender = Sender(results, source.run_id, admitted, IdSet(), IdSet(suppressed), now_s)
    account = Account()
    for window in found.windows:
        share = found.parts[window.first_part :][: window.parts]
        users = (json.loads(line) for part in share for line in stored(part.key).splitlines())
        first = share[0].first_record // BATCH_SIZE if share else 0
        account.add(sender.send(users, Ending.COMPLETED, lambda _: None, first))
    # The first lane's account begins with those whom the cut left out.
    for reason, count in found.excluded_by.items():
        account.exclude(reason, count)
        account.users += count
    close(results, source, campaign, account, now_s, bucket)
    return MadeRun(client, bucket, source.run_id, source, admitted, account)
