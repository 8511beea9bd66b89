"""The notifier: one JSON file in S3 becomes pushes on phones, with an exact account of every device.

The packages in the order of a run:

- `app`: the handlers that Lambda calls.
- `entries`: what the worker, the sweeper and the control entry do.
- `events`: the events that start and continue a run, and the one that announces its end.
- `composition`: reads the settings and connects the parts of a process.
- `lifecycle`: a run from its admission to its end: one invocation works on one lane.
- `audience`: reads the batch file, or the files it refers to, from S3 as records.
- `content`: renders the message for each recipient.
- `sending`: batches of 500 records from the source to their settlement; when to retry, to slow down and to stop.
- `gateway`: FCM and APNs: requests, credentials, and what each answer means.
- `stores`: the run's ledger in DynamoDB and its results in S3; `dynamodb` builds the expressions, and
  `preparation_items`, `decision_items`, `hold_item` and `lane_commands` have the items that several functions read or
  write.
- `telemetry`: log lines, metrics and traces.
- `model`: values and errors that all of these share.
"""
