"""Write a year of daily levels of one gauge: seasons, weather, and a little noise."""

import json
import math
import random

import gauge
from dagster_pipes import open_dagster_pipes

with open_dagster_pipes() as pipes:
    name = pipes.partition_key
    chance = random.Random(name)
    levels, wet = [], 0.0
    for day in range(365):
        wet = 0.8 * wet + chance.expovariate(1.0)
        levels.append(round(150 + 40 * math.cos(2 * math.pi * day / 365) + 4 * wet, 1))
    (gauge.folder(pipes) / f"{name}.json").write_text(json.dumps(levels))
    pipes.report_asset_materialization(metadata={"days": len(levels), "highest": max(levels)})
    pipes.report_asset_check(check_name="no_gaps", passed=len(levels) == 365)
