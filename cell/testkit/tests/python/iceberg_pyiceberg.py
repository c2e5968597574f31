"""PyIceberg as it comes: reads a dataset, writes a table of its own, sees nobody else's."""

import pyarrow
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import RESTError
from pyiceberg.types import StringType

from place import FOREIGN, HTTP, TENANT, TOKEN, report

catalog = load_catalog("cyto", type="rest", uri=f"{HTTP}/iceberg", warehouse=TENANT, token=TOKEN)
read = catalog.load_table("datasets.orders").scan().to_arrow()
filtered = catalog.load_table("datasets.orders").scan(row_filter="id < 10").to_arrow()

catalog.create_namespace_if_not_exists("lab")
if catalog.table_exists("lab.squares"):
    catalog.drop_table("lab.squares")
rows = pyarrow.table({"n": pyarrow.array(range(1000), pyarrow.int64())})
table = catalog.create_table("lab.squares", schema=rows.schema)
table.append(rows)
table.append(rows)
with table.update_schema() as update:
    update.add_column("note", StringType())
written = catalog.load_table("lab.squares").scan().to_arrow()

try:
    load_catalog("foreign", type="rest", uri=f"{HTTP}/iceberg", warehouse=FOREIGN, token=TOKEN).list_namespaces()
    foreign = "open"
except RESTError:
    foreign = "refused"

report(
    read=read.num_rows,
    filtered=filtered.num_rows,
    written=written.num_rows,
    columns=written.column_names,
    snapshots=len(list(catalog.load_table("lab.squares").snapshots())),
    foreign=foreign,
)
