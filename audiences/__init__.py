"""Makes audiences: from files or a query to one record per user, one push per token, in ordered parts with a manifest.

The modules in the order of the data's way:

- `sources`: which files: keys, prefixes and globs become pinned objects, before a byte of them is read.
- `rooms`: which objects a request may name at all.
- `fetch`: pinned objects become files of this attempt.
- `raw`: files of any format become raw rows: lines of JSON text with a number.
- `rows`: raw rows become clean rows, by SQL where it can prove them clean, else by the worker's own reader.
- `shape`: the form of most lines of a file as a regular expression; `exact_lines`: the shortest form, without one.
- `joined_users`: clean rows become users, ordered, with one push per token.
- `counts`: what an audience holds; `suspicions`: what looks wrong in it; `samples`: a few users to look at.
- `parts`: users become objects of at most 250,000.
- `manifest_format`: what was made of what; written last, and once.
- `build`: all of it, in the order that lets a killed attempt leave nothing behind that anything would read.
- `request`: what a batch file's `audience` names becomes the inputs of an order.
- `cut_rules`: who is left out when a run begins, and why.
- `prepared_lines`: lines of prepared parts, looked at without being decoded.
- `caps`: whom the runs of a group have reached, by day; `cap_locks`: one cut of a group at a time.
- `reached`: how many campaigns each user has had in the last days, for approvers.
- `cap_counting`: what a run counts that had no cut, or that ended early.
- `cut`: the prepared audience without them, and their list; it removes and orders, and never adds.
- `run_cut`: what a run began with and the lists as they are now become an order of a cut.
- `conversions`: which users did what a campaign was to bring about; `run_conversions`: counted for a run.
- `watch`: stops the database where it takes too much room, or its result is not wanted any more.
- `store`: the item of a run's preparation: claim, renew, end, and wake the run's lane.
- `run_preparation`: one attempt, under a lease.
- `app`: the Lambda entry.

A query is a source of rows like a file:

- `queries`: stored queries, their parameters, and what is wrong with them.
- `engines`: what runs a query: DuckDB in a process of its own, Athena, BigQuery.
- `warehouse`: queries of Athena and BigQuery for a run: started, left without waiting, fetched once they have ended.
- `query_input`: a query becomes an input, which is pinned by what it was made of.
- `compose`: and, or, without and filters over the users of several sources.

The worker reads what is written here as any other audience (`"audience": {"parts": […]}`).
"""
