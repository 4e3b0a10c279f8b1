"""Squares by Ray's tasks."""

import ray
from dagster_pipes import open_dagster_pipes

with open_dagster_pipes() as pipes:
    ray.init()
    square = ray.remote(lambda number: number * number)
    total = sum(ray.get([square.remote(number) for number in range(10)]))
    pipes.report_asset_materialization(metadata={"total": total})
