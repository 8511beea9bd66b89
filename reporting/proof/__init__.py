"""Proof of what was sent: a run recomputed from the objects in S3 alone.

- `evidence`: the objects of a run: which version of which file it sent, its campaign, its results by batch.
- `direct_get`: gets an object by one signed request.
- `pinned`: reads a pinned object to its end and recomputes its ETag.
- `walk`: the records of the audience in batches, each with what is in S3 for it.
- `batch_audit`: one batch: what its records ask for against the rows that are there.
- `totals`: the counts of all batches against the summary.
- `erased`: what was erased since, as the tombstones say.
- `audit`: the whole chain, from the approval to the summary, up to the first place where it breaks.
- `conclusion`: what an audit says.
- `retried`: a batch file of the devices that failed, and of nobody else.
"""
