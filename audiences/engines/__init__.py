"""What runs a query: DuckDB on this machine, or a warehouse that is asked over the network.

`port` is what the rest of the package knows of an engine. `duckdb` runs SQL that somebody else wrote in a process of
its own (`child`, which judges the statement with `statement` first). `athena` and `bigquery` start a query, and whoever
has its ticket asks later how it is.
"""
