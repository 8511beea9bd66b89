"""Batch files that name their audience: made of a batch file with its users in it."""

import json
from pathlib import Path
from typing import Any

from sandbox.trial import Trial


def name_audience(trial: Trial, path: Path, folder: Path, bucket: str = "", **part: Any) -> Path:
    """Put the file's users under `audiences/`, and write a batch file that names them there.

    Args:
        bucket: where the users go; the stack's own by default.
        part: what else the batch file says of the one part, such as `version_id`.
    """
    content = json.loads(path.read_bytes())
    key = f"audiences/{path.stem}.jsonl"
    lines = "\n".join(json.dumps(user, ensure_ascii=False) for user in content["users"])
    if bucket:
        trial.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        part["bucket"] = bucket
    trial.s3.put_object(Bucket=bucket or trial.sandbox.bucket, Key=key, Body=lines.encode())
    named = folder / f"{path.stem}-parts.json"
    about = {"campaign": content["campaign"], "audience": {"parts": [{"key": key, **part}]}}
    named.write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
    return named
