"""DuckDB's iceberg extension as it comes: attaches the warehouse and reads a dataset."""

import duckdb
from duckdb_extensions import import_extension

from place import HTTP, TENANT, TOKEN, report

for extension in ("avro", "httpfs", "iceberg"):
    import_extension(extension)
connection = duckdb.connect()
for extension in ("avro", "httpfs", "iceberg"):
    connection.load_extension(extension)
connection.execute(f"ATTACH '{TENANT}' AS warehouse (TYPE iceberg, ENDPOINT '{HTTP}/iceberg', TOKEN '{TOKEN}')")
count, total = connection.execute("select count(*), sum(id) from warehouse.datasets.orders").fetchone()
missing = connection.execute("select count(*) from warehouse.datasets.orders where amount is null").fetchone()[0]
report(count=count, total=int(total), missing=missing)
