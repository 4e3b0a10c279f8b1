"""Says when it began and ended."""

import time

begun = time.time()

from dagster_pipes import open_dagster_pipes  # noqa: E402 - the clock is read first

with open_dagster_pipes() as pipes:
    pipes.report_asset_materialization(metadata={"begun": begun, "ended": time.time()})
