"""Write counts.csv: six weeks of hourly bike counts at six stations, with the flaws that such files have.

    python generate.py > counts.csv

The same file comes out every time; it is in the repository, and a test compares the two.
"""

import csv
import math
import random
import sys
from datetime import datetime, timedelta

BEGIN = datetime(2024, 5, 6)  # a Monday
WEEKS = 6
# name, bikes in its busiest hour, share of commuters
STATIONS = [
    ("Harbour Bridge", 420, 0.8),
    ("Market Square", 260, 0.4),
    ("University", 340, 0.7),
    ("River Path", 180, 0.1),
    ("Station Street", 300, 0.9),
    ("Old Tannery", 90, 0.5),
]


def commuters(hour: int) -> float:
    """Two peaks: at eight, and a broader one at half past five."""
    return math.exp(-(((hour - 8) / 1.3) ** 2)) + 0.85 * math.exp(-(((hour - 17.5) / 2.0) ** 2))


def strollers(hour: int) -> float:
    """One broad peak in the afternoon."""
    return math.exp(-(((hour - 15) / 4.0) ** 2))


def weather(rng: random.Random) -> list[float]:
    """A day's mean temperature: slowly warmer, with better and worse days."""
    drift, days = 0.0, []
    for day in range(7 * WEEKS):
        drift = 0.7 * drift + rng.gauss(0, 1.6)
        days.append(14 + 0.13 * day + drift)
    return days


def expected(moment: datetime, busiest: int, commuting: float, warmth: float) -> float:
    """How many bikes an hour sees on average."""
    weekend = moment.weekday() >= 5
    commute = commuting * (0.15 if weekend else 1.0) * commuters(moment.hour)
    stroll = (1 - commuting) * (1.5 if weekend else 1.0) * strollers(moment.hour)
    return busiest * (commute + stroll) * max(0.3, 1 + 0.04 * (warmth - 17)) + 1.5


def rows(rng: random.Random) -> list[list[str]]:
    """Every hour of every station, as its counter would have sent it."""
    days = weather(rng)
    found: list[list[str]] = []
    for name, busiest, commuting in STATIONS:
        outage = rng.randrange(10, 30)
        for hour in range(24 * 7 * WEEKS):
            moment = BEGIN + timedelta(hours=hour)
            day = hour // 24
            if name == "Old Tannery" and day > 1:
                break  # the counter died, and nobody noticed
            if name == "River Path" and outage <= day < outage + 2:
                continue  # two days without power
            mean = expected(moment, busiest, commuting, days[day])
            count = str(max(0, round(rng.gauss(mean, math.sqrt(mean) * 1.4))))
            temperature = days[day] + 5 * math.sin((moment.hour - 9) / 24 * 2 * math.pi)
            found.append([name, moment.isoformat(timespec="minutes"), count, f"{temperature:.1f}"])
    return found


def flaws(clean: list[list[str]], rng: random.Random) -> list[list[str]]:
    """Missing and impossible counts, names in other spellings, rows sent twice."""
    sent: list[list[str]] = []
    for name, moment, count, temperature in clean:
        luck = rng.random()
        row = [name, moment, count, temperature]
        if luck < 0.012:
            row[2] = rng.choice(["", "NA", "-"])
        elif luck < 0.014:
            row[2] = rng.choice(["-1", "65535"])  # what a counter says when it restarts
        elif luck < 0.024:
            row[0] = rng.choice([name.upper(), name + " ", name.lower()])
        elif luck < 0.034:
            row[3] = ""
        sent.append(row)
        if 0.5 < luck < 0.508:
            sent.append(list(row))
    return sent


def main() -> None:
    """Write the file to the standard output."""
    rng = random.Random(20240506)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["station", "time", "count", "temperature_c"])
    writer.writerows(flaws(rows(rng), rng))


if __name__ == "__main__":
    main()
