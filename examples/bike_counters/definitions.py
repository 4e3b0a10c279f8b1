"""Bike counters of a city: clean the readings, add up the days, find the rhythm of each station, sum up.

The assets say what they run, and nothing about where. `ComputeResource.from_env()` runs them on this machine when
nothing is set, and as Slurm jobs when the environment names a cluster.
"""

import os

import dagster as dg

from dagster_slurm import ComputeResource

#: where the tables between the assets lie, as seen by the payloads
DATA = os.environ.get("BIKE_COUNTERS_DATA", "~/bike-counters")

stations = dg.StaticPartitionsDefinition(
    ["harbour-bridge", "market-square", "old-tannery", "river-path", "station-street", "university"]
)


class Period(dg.Config):
    """How much of the file to read."""

    until: str = "2024-06-16"


@dg.asset(
    check_specs=[
        dg.AssetCheckSpec("enough_usable_readings", asset="readings"),
        dg.AssetCheckSpec("every_station_reports", asset="readings"),
    ]
)
def readings(context: dg.AssetExecutionContext, compute: ComputeResource, config: Period):
    """Hourly counts: one spelling per station, no row twice, no count that cannot be."""
    return compute.run(
        context=context,
        payload_path="payloads/ingest.py",
        extra_files=["data/counts.csv"],
        extras={"counts": "counts.csv", "until": config.until, "data_dir": DATA},
    )


@dg.asset(deps=[readings])
def daily_totals(context: dg.AssetExecutionContext, compute: ComputeResource):
    """Bikes per station and complete day."""
    return compute.run(context=context, payload_path="payloads/daily.py", extras={"data_dir": DATA})


@dg.asset(deps=[readings], partitions_def=stations)
def station_profile(context: dg.AssetExecutionContext, compute: ComputeResource):
    """The rhythm of one station, by the hour. One partition fails: the counter at the old tannery is dead."""
    return compute.run(context=context, payload_path="payloads/station.py", extras={"data_dir": DATA})


@dg.asset(deps=[daily_totals])
def city_summary(context: dg.AssetExecutionContext, compute: ComputeResource):
    """Which stations carry the city, and what a warm day is worth."""
    return compute.run(context=context, payload_path="payloads/summary.py", extras={"data_dir": DATA})


defs = dg.Definitions(
    assets=[readings, daily_totals, station_profile, city_summary],
    jobs=[
        dg.define_asset_job("city", selection=[readings, daily_totals, city_summary]),
        dg.define_asset_job("station", selection=[station_profile]),
    ],
    resources={"compute": ComputeResource.from_env()},
)
