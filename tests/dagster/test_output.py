"""Standard output and error in Dagster's compute logs, as the run's page shows them."""

import re
from pathlib import Path

import psutil
import pytest

from tests.dagster.conftest import BOTH
from tests.dagster.support import Payloads
from tests.dagster.ui import Ui

ODD = r"""
import sys, time
out = sys.stdout.buffer
def write(data):
    out.write(data)
    out.flush()
write(b"plain\n")
write(b"caf\xe9 of another coding\n")
write("ünïcode €\n".encode())
for part in range(5):
    write(b"\r%d%%" % (part * 25))
write(b"\n")
print("to standard error", file=sys.stderr, flush=True)
euro = "€".encode()
write(euro[:1])
time.sleep(0.5)
write(euro[1:] + b" was cut in two\n")
for number in range(20000):
    out.write(b"line %06d of a burst\n" % number)
write(b"last without an end")
sys.stderr.write("last of the errors")
"""
EXPECTED = (
    "plain\ncaf\ufffd of another coding\nünïcode €\n\r0%\r25%\r50%\r75%\r100%\n€ was cut in two\n"
    + "".join(f"line {number:06d} of a burst\n" for number in range(20000))
    + "last without an end\n"
)


@BOTH
def test_both_streams_whole_and_once(request: pytest.FixtureRequest, where: str, payloads: Payloads) -> None:
    ui: Ui = request.getfixturevalue("local_ui" if where == "local" else "ui")
    config = {"where": where, "payload": str(payloads.plain(ODD))}
    runs = [ui.launch(f"plain_{executor}", "plain", config) for executor in ("in_process", "multiprocess")]
    for run in runs:
        ui.wait(run, "SUCCESS")
        out, err = ui.output(run)
        assert out == EXPECTED
        assert err.count("to standard error\n") == 1
        assert re.findall(r"^last of the errors$", err, re.MULTILINE) == ["last of the errors"]
        said = ui.log(run)
        assert said.count("Started execution of step") == 1
        assert said.count("Loaded input") == 0
        assert ui.metadata(run)["slurm/exit_code"] == 0


@pytest.mark.slow
def test_a_burst_of_50_megabytes(local_ui: Ui, payloads: Payloads) -> None:
    path = payloads.plain(
        "import sys\nline = b'x' * 99 + b'\\n'\nfor _ in range(500): sys.stdout.buffer.write(line * 1000)\n"
        "import os, pathlib\nwhile not pathlib.Path('go').exists(): pass\n"
    )
    run = local_ui.launch("plain_in_process", "plain", {"where": "local", "payload": str(path)})
    worker, peak = None, 0
    while len(local_ui.output(run)[0] if worker else "") < 50_000_000:
        worker = worker or started(local_ui, run)
        if worker:
            peak = max(peak, worker.memory_info().rss)
    base = Path(worker.environ().get("DAGSTER_HOME", "")) if worker else Path()
    for work in (base / "dagster-slurm" / "runs" / run).glob("*/*/work"):
        (work / "go").touch()
    local_ui.wait(run, "SUCCESS")
    assert len(local_ui.output(run)[0]) == 50_000_000
    assert peak < 300_000_000


def started(ui: Ui, run: str) -> psutil.Process | None:
    return ui.process(run) if "Started process for run" in ui.log(run) else None
