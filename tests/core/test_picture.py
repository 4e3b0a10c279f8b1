from __future__ import annotations

import base64
import re
from xml.etree import ElementTree as ET

from dagster_slurm.core.picture import picture, svg
from dagster_slurm.core.record import Samples, parse

SAMPLES = Samples(0, (1.0, 2.0, 3.0, 5.0), (1.0, 3.0, 3.0, 3.2), (100.0, 900.0, 850.0, 10.0))
SPACE = "{http://www.w3.org/2000/svg}"


def test_two_lines_and_what_they_mean() -> None:
    root = ET.fromstring(svg(SAMPLES, 1000))
    lines = [item.attrib["points"].split() for item in root.iter(f"{SPACE}polyline")]
    assert [len(points) for points in lines] == [3, 4]
    heights = [float(point.partition(",")[2]) for point in lines[1]]
    assert heights.index(min(heights)) == 1  # the most memory stands highest
    texts = [item.text for item in root.iter(f"{SPACE}text")]
    assert "2.0 CPUs, 900 MiB at most of 1000 MiB" in texts
    assert "5 s" in texts


def test_it_fits_into_markdown() -> None:
    match = re.fullmatch(r"!\[[\w ]+\]\(data:image/svg\+xml;base64,([\w+/=]+)\)", picture(SAMPLES))
    assert match
    assert base64.b64decode(match[1]).decode() == svg(SAMPLES)


def test_the_longest_is_small() -> None:
    many = tuple(float(number) for number in range(120))
    assert len(picture(Samples(0, many, many, many))) < 8000


def test_samples_of_a_record() -> None:
    line = '{"event":"samples","restart":0,"seconds":[1,2],"cpu":[0.1,0.2],"mib":[3,4]}\n'
    start = '{"event":"start","job":"1","restart":%d,"time":1}\n'
    assert parse(start % 0 + line).samples == Samples(0, (1.0, 2.0), (0.1, 0.2), (3.0, 4.0))
    assert parse(start % 0 + line + start % 1).samples is None
    assert parse(line.replace("[3,4]", "[3]")).samples is None
