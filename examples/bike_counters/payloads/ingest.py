"""Clean what the counters sent: one spelling per station, no row twice, no count that cannot be."""

import tables
from dagster_pipes import open_dagster_pipes

MOST = 5000  # more bikes in an hour than any of these paths can carry
STATIONS = ["harbour-bridge", "market-square", "old-tannery", "river-path", "station-street", "university"]


def clean(rows, until, log):
    """Return the usable rows up to a day, and how many others there were, by reason."""
    kept, dropped = {}, {"duplicates": 0, "missing": 0, "impossible": 0}
    for row in rows:
        station = row["station"].strip().lower().replace(" ", "-")
        if row["time"][:10] > until:
            continue
        if (station, row["time"]) in kept:
            dropped["duplicates"] += 1
        elif row["count"] in ("", "-", "NA"):
            dropped["missing"] += 1
        elif not 0 <= int(row["count"]) <= MOST:
            dropped["impossible"] += 1
            log("{} {}: {} bikes in one hour, dropped".format(row["time"], station, row["count"]))
        else:
            kept[station, row["time"]] = {
                "station": station,
                "time": row["time"],
                "count": int(row["count"]),
                "temperature_c": row["temperature_c"],
            }
    return list(kept.values()), dropped


def hours_per_station(rows):
    """Return how many usable hours each station has."""
    hours = dict.fromkeys(STATIONS, 0)
    for row in rows:
        hours[row["station"]] += 1
    return hours


def main():
    """Write readings.csv, and say what was dropped and whether the rest is enough."""
    with open_dagster_pipes() as pipes:
        raw = tables.read(pipes.get_extra("counts"))
        print(f"{len(raw):,} rows from the counters", flush=True)
        kept, dropped = clean(raw, pipes.get_extra("until"), lambda text: print(text, flush=True))
        path = tables.folder(pipes) / "readings.csv"
        tables.write(path, kept)
        pipes.log.info(f"kept {len(kept):,} rows in {path}")

        metadata = {"rows": len(kept), "path": {"raw_value": str(path), "type": "path"}}
        metadata.update(dropped)
        pipes.report_asset_materialization(metadata=metadata)

        usable = len(kept) / (len(kept) + dropped["missing"] + dropped["impossible"])
        pipes.report_asset_check(
            "enough_usable_readings", passed=usable >= 0.95, metadata={"usable_percent": round(100 * usable, 2)}
        )
        hours = hours_per_station(kept)
        silent = [name for name in STATIONS if hours[name] < max(hours.values()) / 2]
        pipes.report_asset_check(
            "every_station_reports",
            passed=not silent,
            severity="WARN",
            metadata={"silent": ", ".join(silent) or "none"},
        )


if __name__ == "__main__":
    main()
