"""The rhythm of one station, which the partition names: the hours it lives by, and whether it works or strolls."""

from datetime import datetime

import tables
from dagster_pipes import open_dagster_pipes

FEWEST = 7 * 24  # a profile of less than a week tells nothing


def mean(numbers):
    """Return the mean, or 0 of nothing."""
    return sum(numbers) / len(numbers) if numbers else 0.0


def by_hour(readings, weekend):
    """Return the mean count of each hour, on working days or at the weekend."""
    counts = {hour: [] for hour in range(24)}
    for row in readings:
        moment = datetime.strptime(row["time"], "%Y-%m-%dT%H:%M")
        if (moment.weekday() >= 5) == weekend:
            counts[moment.hour].append(int(row["count"]))
    return {hour: mean(found) for hour, found in counts.items()}


def main():
    """Write profile-<station>.csv."""
    with open_dagster_pipes() as pipes:
        station, folder = pipes.partition_key, tables.folder(pipes)
        readings = [row for row in tables.read(folder / "readings.csv") if row["station"] == station]
        if len(readings) < FEWEST:
            raise ValueError(
                f"{station} has {len(readings)} usable hours, and a profile needs {FEWEST}: is its counter alive?"
            )
        workday, weekend = by_hour(readings, weekend=False), by_hour(readings, weekend=True)
        rows = [{"hour": hour, "workday": round(workday[hour]), "weekend": round(weekend[hour])} for hour in range(24)]
        tables.write(folder / f"profile-{station}.csv", rows)
        top = max(workday.values())
        for hour in range(6, 22, 2):
            print(
                "{:02d}:00 {:>4.0f} {}".format(hour, workday[hour], "#" * round(30 * workday[hour] / top)), flush=True
            )
        pipes.report_asset_materialization(
            metadata={
                "peak_hour": max(workday, key=lambda hour: workday[hour]),
                "peak_bikes": round(top, 1),
                "weekend_share": round(sum(weekend.values()) / sum(workday.values()), 3),
                "profile": tables.markdown(rows),
            }
        )


if __name__ == "__main__":
    main()
