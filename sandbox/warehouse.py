"""Tables of the stand-ins for Athena and BigQuery: objects of the local bucket as views of DuckDB."""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb


Catalogue = Mapping[str, tuple[str, str]]
"""Of each table the bucket and the prefix of its objects."""
STANDING = "standing/"
_READERS = {
    ".csv": "read_csv({files}, header = true, all_varchar = true, union_by_name = true)",
    ".jsonl": "read_json({files}, format = 'newline_delimited', union_by_name = true, sample_size = -1)",
}


def standing_tables(s3: Any) -> Catalogue:
    """Each folder below `standing/` of any bucket is a table of its name."""
    found: dict[str, tuple[str, str]] = {}
    for bucket in s3.list_buckets()["Buckets"]:
        listed = s3.list_objects_v2(Bucket=bucket["Name"], Prefix=STANDING, Delimiter="/")
        for one in listed.get("CommonPrefixes", ()):
            found[one["Prefix"].removeprefix(STANDING).rstrip("/")] = (bucket["Name"], one["Prefix"])
    return found


def load_table(s3: Any, database: "duckdb.DuckDBPyConnection", folder: Path, table: str, place: tuple[str, str]) -> int:
    """Make a view of a table's objects, all of one format. Returns their size."""
    bucket, prefix = place
    (folder / table).mkdir()
    size, paths = 0, list[str]()
    for n, one in enumerate(s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]):
        path = folder / table / f"{n}{Path(one['Key']).suffix}"
        s3.download_file(bucket, one["Key"], str(path))
        paths.append(str(path))
        size += one["Size"]
    reader = _READERS.get(Path(paths[0]).suffix, "read_parquet({files}, union_by_name = true)")
    database.execute(f"CREATE VIEW {table} AS FROM {reader.format(files=paths)}")
    return size


def fill_dataset(s3: Any, database: "duckdb.DuckDBPyConnection", text: str) -> int:
    """Make the tables that a query's text names, in the schema `crm`. Returns their bytes."""
    size = 0
    database.execute("CREATE SCHEMA crm")
    with tempfile.TemporaryDirectory() as folder:
        for table, place in standing_tables(s3).items():
            if not re.search(rf"\bcrm\.{table}\b", text):
                continue
            size += load_table(s3, database, Path(folder), table, place)
            # Kept: the files are gone when the query runs.
            database.execute(f"CREATE TABLE crm.{table} AS FROM {table}")
            database.execute(f"DROP VIEW {table}")
    return size
