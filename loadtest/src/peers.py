"""DuckDB and DataFusion over local copies of a tenant's Parquet files.

The first line of standard input says where the catalog is and which tables to copy; every other line holds a
statement and how often to run it. Every line is answered by one line: milliseconds by engine, or an error.
"""

import json
import pathlib
import sys
import time

import datafusion
import duckdb
from pyiceberg.catalog import load_catalog


def copy(begin, name, table):
    """Copies the table's files into a folder of their own."""
    folder = pathlib.Path(begin["folder"]) / name
    folder.mkdir(parents=True)
    warehouse = load_catalog("cyto", type="rest", uri=begin["catalog"], warehouse=begin["tenant"], token=begin["token"])
    loaded = warehouse.load_table(table)
    for number, task in enumerate(loaded.scan().plan_files()):
        with loaded.io.new_input(task.file.file_path).open() as source:
            (folder / f"{number}.parquet").write_bytes(source.read())
    return folder


class Duck:
    def __init__(self, folders):
        self.connection = duckdb.connect()
        for name, folder in folders.items():
            self.connection.execute(f"create view {name} as select * from read_parquet('{folder}/*.parquet')")

    def run(self, sql):
        self.connection.execute(sql).fetch_arrow_table()


class Fusion:
    def __init__(self, folders):
        self.context = datafusion.SessionContext()
        for name, folder in folders.items():
            self.context.register_parquet(name, str(folder))

    def run(self, sql):
        self.context.sql(sql).collect()


def times(engine, sql, repetitions):
    engine.run(sql)
    taken = []
    for _ in range(repetitions):
        begun = time.perf_counter()
        engine.run(sql)
        taken.append((time.perf_counter() - begun) * 1000)
    return taken


def answer(line, state):
    if "engines" not in state:
        folders = {name: copy(line, name, table) for name, table in line["tables"].items()}
        state["names"] = {name: name for name in folders}
        state["engines"] = {"DuckDB": Duck(folders), "DataFusion": Fusion(folders)}
        return {}
    sql = line["sql"].format(**state["names"])
    return {name: times(engine, sql, line["repetitions"]) for name, engine in state["engines"].items()}


state = {}
for text in sys.stdin:
    try:
        print(json.dumps(answer(json.loads(text), state)))
    except Exception as failure:
        print(json.dumps({"error": f"{type(failure).__name__}: {failure}"}))
