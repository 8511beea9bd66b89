"""SQL over the rows in S3: the report's figures, and the app's own conversions by arm.

Rows are newline-delimited JSON, gzipped, under `rows/run_id=…/`: every engine below reads them without a conversion.
Conversions are compared over *assigned* users. Whether a push is accepted depends on the phone; the control group has
unreachable users too, so that leaving them out of the other arms would compare different people.
"""

import enum


class Dialect(enum.StrEnum):
    """The engines whose SQL is printed."""

    BIGQUERY = "bigquery"
    ATHENA = "athena"
    DUCKDB = "duckdb"


COLUMNS = (
    ("campaign_id", "string"), ("record", "bigint"), ("device", "bigint"), ("user_id", "string"), ("arm", "string"),
    ("platform", "string"), ("gateway", "string"), ("outcome", "string"), ("reason", "string"), ("status", "bigint"),
    ("apns_id", "string"), ("message_id", "string"), ("attempts", "bigint"), ("locale", "string"), ("at", "timestamp"),
)  # fmt: skip
"""Every member of a row but `run_id`, which is the partition and part of the key."""
_BIGQUERY = {"string": "STRING", "bigint": "INT64", "timestamp": "TIMESTAMP"}
_DUCKDB = {"string": "VARCHAR", "bigint": "BIGINT", "timestamp": "TIMESTAMP"}

_DUCKDB_ON_S3 = (
    "-- Once, so that DuckDB reads S3 as the AWS command line does: INSTALL httpfs; INSTALL aws;\n"
    "-- in each session: CREATE SECRET (TYPE s3, PROVIDER credential_chain);\n"
)

OUTCOMES = """\
SELECT arm, outcome, reason, COUNT(*) AS devices, COUNT(DISTINCT user_id) AS users
FROM {rows}
WHERE run_id = '{run_id}'
GROUP BY arm, outcome, reason
ORDER BY arm, outcome, devices DESC"""

CONVERSIONS = """\
WITH assigned AS (
  SELECT user_id, arm, MIN({first}) AS since
  FROM {rows}
  WHERE run_id = '{run_id}'
  GROUP BY user_id, arm
),
converted AS (
  SELECT a.arm, a.user_id, COUNT(c.user_id) AS conversions
  FROM assigned a
  LEFT JOIN {conversions} c
    ON c.user_id = a.user_id AND c.{at} >= a.since AND c.{at} < {until}
  GROUP BY a.arm, a.user_id
)
SELECT arm,
       COUNT(*) AS assigned_users,
       SUM(CASE WHEN conversions > 0 THEN 1 ELSE 0 END) AS converted_users,
       AVG(CASE WHEN conversions > 0 THEN 1.0 ELSE 0.0 END) AS conversion_rate
FROM converted
GROUP BY arm
ORDER BY arm"""


def outcomes_query(run_id: str, rows: str) -> str:
    """Devices by arm, outcome and reason. `rows` is a table's name, or a table function."""
    return OUTCOMES.format(rows=rows, run_id=_safe(run_id))


def conversions_query(dialect: Dialect, run_id: str, rows: str, conversions: str = "conversions") -> str:
    """Users and converted users by arm, within seven days. `conversions` is a table with `user_id` and `at`."""
    until = {
        Dialect.BIGQUERY: "TIMESTAMP_ADD(a.since, INTERVAL 7 DAY)",
        Dialect.ATHENA: "date_add('day', 7, a.since)",
        Dialect.DUCKDB: "a.since + INTERVAL 7 DAY",
    }[dialect]
    at = "`at`" if dialect is Dialect.BIGQUERY else '"at"'
    # The only engine whose table has the time as text, see `rows_table`.
    first = f"CAST({at} AS timestamp)" if dialect is Dialect.ATHENA else at
    return CONVERSIONS.format(rows=rows, run_id=_safe(run_id), conversions=conversions, until=until, at=at, first=first)


def rows_table(dialect: Dialect, bucket: str) -> str:
    """The statement that makes a table or view of the rows, named `rows_name`."""
    where = f"s3://{_safe(bucket)}/rows"
    if dialect is Dialect.DUCKDB:
        return (
            f"{_DUCKDB_ON_S3}CREATE OR REPLACE VIEW push_rows AS\nSELECT * FROM {duckdb_rows(f'{where}/*/*.json.gz')};"
        )
    if dialect is Dialect.ATHENA:
        kinds = {"timestamp": "string"}  # a text, which the queries cast: no format of times to set
        columns = ",\n".join(f"  `{name}` {kinds.get(kind, kind)}" for name, kind in COLUMNS)
        return (
            f"CREATE EXTERNAL TABLE IF NOT EXISTS push_rows (\n{columns}\n)\nPARTITIONED BY (run_id string)\n"
            f"ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'\nLOCATION '{where}/'\nTBLPROPERTIES (\n"
            "  'projection.enabled' = 'true', 'projection.run_id.type' = 'injected',\n"
            f"  'storage.location.template' = '{where}/run_id=${{run_id}}/'\n);"
        )
    columns = ",\n".join(f"  `{name}` {_BIGQUERY[kind]}" for name, kind in COLUMNS)
    return (
        "-- BigQuery reads S3 through BigQuery Omni, or Google's storage after a transfer; put your own place here.\n"
        f"CREATE EXTERNAL TABLE IF NOT EXISTS push.push_rows (\n  run_id STRING,\n{columns}\n)\nOPTIONS (\n"
        f"  format = 'NEWLINE_DELIMITED_JSON', compression = 'GZIP',\n  uris = ['gs://{_safe(bucket)}/rows/*.json.gz']\n);"
    )


def rows_name(dialect: Dialect) -> str:
    """The name of the table that `rows_table` makes."""
    return "push.push_rows" if dialect is Dialect.BIGQUERY else "push_rows"


def duckdb_rows(pattern: str) -> str:
    """DuckDB's table function over rows; the types are stated, so that a column of nulls is not guessed."""
    columns = ", ".join(f"'{name}': '{_DUCKDB[kind]}'" for name, kind in (("run_id", "string"), *COLUMNS))
    return f"read_json('{_safe(pattern)}', format = 'newline_delimited', columns = {{{columns}}})"


def script(dialect: Dialect, run_id: str, bucket: str, conversions: str = "conversions") -> str:
    """All statements in order, ready to paste."""
    rows = rows_name(dialect)
    return (
        f"-- 1. The rows as a table\n{rows_table(dialect, bucket)}\n\n"
        f"-- 2. The report again, from the rows\n{outcomes_query(run_id, rows)};\n\n"
        f"-- 3. Conversions by arm, over assigned users: `{conversions}` is your table, with user_id and at\n"
        f"{conversions_query(dialect, run_id, rows, conversions)};\n"
    )


def _safe(text: str) -> str:
    """A text for use between single quotes."""
    # Bucket and run come from a stack and a file's name: a quote in them must stay in the text.
    return text.replace("'", "''")
