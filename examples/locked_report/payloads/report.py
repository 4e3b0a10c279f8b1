"""Writes the report. It runs in the environment of the project's lock: Jinja, and the project's own package."""

import jinja2
from dagster_pipes import open_dagster_pipes
from station_report import page

with open_dagster_pipes() as pipes:
    counts = pipes.get_extra("counts")
    html = page("Bikes counted", counts)
    print("rendered by Jinja", jinja2.__version__)
    pipes.report_asset_materialization(metadata={"html": html, "stations": len(counts)})
