"""The whole city: which stations carry it, how the weeks went, and what a warm day is worth."""

from datetime import datetime

import tables
from dagster_pipes import open_dagster_pipes


def mean(numbers):
    """Return the mean."""
    return sum(numbers) / len(numbers)


def slope(xs, ys):
    """Return by how much y grows with x (least squares), and how closely (correlation)."""
    x, y = mean(xs), mean(ys)
    xy = sum((a - x) * (b - y) for a, b in zip(xs, ys))
    xx, yy = sum((a - x) ** 2 for a in xs), sum((b - y) ** 2 for b in ys)
    return xy / xx, xy / (xx * yy) ** 0.5


def ranking(days):
    """Return one row per station, the busiest first."""
    stations = {}
    for row in days:
        stations.setdefault(row["station"], []).append(int(row["bikes"]))
    ranked = sorted(stations.items(), key=lambda item: -mean(item[1]))
    return [{"station": name, "days": len(bikes), "bikes a day": round(mean(bikes))} for name, bikes in ranked]


def workdays(days):
    """Return the city's bikes per station, and the temperature, of each working day."""
    by_day = {}
    for row in days:
        if datetime.strptime(row["day"], "%Y-%m-%d").weekday() < 5:
            by_day.setdefault(row["day"], []).append(row)
    warmth = [mean([float(row["temperature_c"]) for row in rows]) for rows in by_day.values()]
    bikes = [mean([int(row["bikes"]) for row in rows]) for rows in by_day.values()]
    return warmth, bikes


def main():
    """Write summary.csv."""
    with open_dagster_pipes() as pipes:
        folder = tables.folder(pipes)
        days = tables.read(folder / "daily.csv")
        ranked = ranking(days)
        tables.write(folder / "summary.csv", ranked)
        for place, row in enumerate(ranked, start=1):
            print("{}. {:<15} {:>6,} bikes a day".format(place, row["station"], row["bikes a day"]), flush=True)
        per_degree, correlation = slope(*workdays(days))
        pipes.report_asset_materialization(
            metadata={
                "bikes": sum(int(row["bikes"]) for row in days),
                "stations": len(ranked),
                "bikes_per_degree": round(per_degree, 1),
                "correlation_with_warmth": round(correlation, 3),
                "ranking": tables.markdown(ranked),
            }
        )


if __name__ == "__main__":
    main()
