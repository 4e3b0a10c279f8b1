"""Mean and extremes of every gauge that has readings."""

import json

import gauge
from dagster_pipes import open_dagster_pipes

with open_dagster_pipes() as pipes:
    found = {path.stem: json.loads(path.read_text()) for path in sorted(gauge.folder(pipes).glob("*.json"))}
    for name, levels in found.items():
        print(f"{name:<8} {min(levels):6.1f} {sum(levels) / len(levels):6.1f} {max(levels):6.1f}")
    together = [level for levels in found.values() for level in levels]
    pipes.report_asset_materialization(metadata={"gauges": len(found), "mean": round(sum(together) / len(together), 1)})
