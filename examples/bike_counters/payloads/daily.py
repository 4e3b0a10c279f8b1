"""Add up the hours of each station and day; days with too many hours missing would mislead, and are left out."""

import tables
from dagster_pipes import open_dagster_pipes

ENOUGH_HOURS = 22


def totals(readings):
    """Return one row per station and complete day, and the number of incomplete ones."""
    days = {}
    for row in readings:
        days.setdefault((row["station"], row["time"][:10]), []).append(row)
    complete = []
    for (station, day), rows in sorted(days.items()):
        if len(rows) >= ENOUGH_HOURS:
            warmth = [float(row["temperature_c"]) for row in rows if row["temperature_c"]]
            bikes = sum(int(row["count"]) for row in rows)
            mean = round(sum(warmth) / len(warmth), 1)
            complete.append({"station": station, "day": day, "bikes": bikes, "temperature_c": mean})
    return complete, len(days) - len(complete)


def main():
    """Write daily.csv."""
    with open_dagster_pipes() as pipes:
        folder = tables.folder(pipes)
        days, incomplete = totals(tables.read(folder / "readings.csv"))
        tables.write(folder / "daily.csv", days)
        for station in sorted({row["station"] for row in days}):
            bikes = sum(row["bikes"] for row in days if row["station"] == station)
            print(f"{station:<15} {bikes:>7,} bikes", flush=True)
        busiest = max(days, key=lambda row: row["bikes"])
        pipes.report_asset_materialization(
            metadata={
                "bikes": sum(row["bikes"] for row in days),
                "complete_days": len(days),
                "incomplete_days": incomplete,
                "busiest": "{station}, {day}".format(**busiest),
            }
        )


if __name__ == "__main__":
    main()
