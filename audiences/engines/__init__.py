"""What runs a query: DuckDB on this machine, or a warehouse that is asked over the network.

`port` is what the rest of the package knows of an engine. `duckdb` runs untrusted SQL in a process of its own
(`child`, which judges the statement with `statement` and its result's `columns` first). `athena` and `bigquery` start
a query and return a ticket, with which its state is asked for later.
"""
