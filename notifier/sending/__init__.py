"""Sends a claimed lane: batches from their source to their settlement, and the policies beside them.

No module of the package reaches a library of AWS or of a gateway: those come as ports. In the order of a push:

- `hop`: the loop of one invocation. `exit_reasons`, `completion`, `shutdown`, `hop_exit`: why it ends, when nothing is
  left, what a reason to end stops, and what becomes of the lane then.
- `batch_opening`: which turn opens the next batch. `hop_parts`: what these share.
- `batch_source`, `audience_reading`, `batch_builder`, `batch`: records of the audience as batches of pushes.
- `send_queue`, `rate_limit`, `lane_shares`: which device is passed on next, and when, alone or as one lane of several.
- `send_times`: when requests may start, by the lane's window and by quiet hours.
- `dispatch`, `open_pushes`, `endpoint_state`, `carrier`: what is in flight, waits for its endpoint, or for another try.
- `backpressure`: how fast an endpoint may be asked that is overloaded or slow.
- `answers`, `retry`: what becomes of a push after its answer.
- `refusals`, `withheld_refusals`, `circuit_breaker`: refusals that may be our fault, and those that stop the run.
- `checkpoint`, `uncounted`, `settling`, `results`: complete batches are settled, and the cursor passes them.
- `checkpoint_writer`, `reach`, `lane_writer`, `trouble_log`: what the ledger records on the way, when, and the lease.
- `deferred_format`, `deferred_queue`, `deferred_rounds`, `asking`: devices that are asked for again, each when it is
  due.
- `possible_repeats`, `settled_batch`: what claims that ended unfinished may have asked for; each repeated device is
  counted once.
"""
