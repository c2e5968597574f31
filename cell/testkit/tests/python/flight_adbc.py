"""ADBC's Flight SQL driver as it comes: statements, parameters, metadata."""

import adbc_driver_flightsql.dbapi as flight_sql
from adbc_driver_flightsql import DatabaseOptions

from place import FLIGHT, FOREIGN, TENANT, TOKEN, report

options = {DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {TOKEN}"}
with flight_sql.connect(FLIGHT, db_kwargs=options, autocommit=True) as connection, connection.cursor() as cursor:
    cursor.execute("select count(*) from datasets.orders")
    count = cursor.fetchone()[0]
    cursor.execute("select id, city, amount from datasets.orders order by id")
    table = cursor.fetch_arrow_table()
    cursor.execute("select count(*) from datasets.orders where id < ?", parameters=(10,))
    bound = cursor.fetchone()[0]
    objects = connection.adbc_get_objects(depth="tables").read_all().to_pylist()
    catalogs = [catalog["catalog_name"] for catalog in objects]
    info = connection.adbc_get_info()
    schema = connection.adbc_get_table_schema("orders", db_schema_filter="datasets")
    try:
        cursor.execute(f'select * from "{FOREIGN}".datasets.secrets')
        cursor.fetchall()
        foreign = "open"
    except flight_sql.Error:
        foreign = "refused"

report(
    count=count,
    rows=table.num_rows,
    columns=table.column_names,
    bound=bound,
    only_own=catalogs == [TENANT],
    vendor=str(info.get("vendor_name")),
    schema=schema.names,
    foreign=foreign,
)
