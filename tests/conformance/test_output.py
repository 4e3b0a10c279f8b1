"""What a payload writes arrives: all of it, once, as it is."""

from __future__ import annotations

import hashlib
import json
import subprocess

from tests.conformance.driver import PATIENCE, UNTIL_GO, Rig
from tests.conformance.worker import task

ODD = r"printf 'caf\xc3\xa9 \xff\xfe\x00 10%%\r20%%\r\n\n\nno end'"
BURST = "import os\nline = bytes(range(256)) * 4096\nfor _ in range(50): os.write(1, line)\nos.write(2, b'end')"


def test_bytes_arrive_as_they_are(rig: Rig) -> None:
    played = rig.run(f"{ODD}; {ODD} >&2; {ODD} >>$MESSAGES")
    expected = "café ".encode() + b"\xff\xfe\0 10%\r20%\r\n\n\nno end"
    assert (played.heard.stdout, played.heard.stderr, played.heard.said) == (expected, expected, {0: expected})


def test_each_line_arrives_once_and_while_the_payload_runs(rig: Rig) -> None:
    talk = "for n in {1..40}; do echo $n; echo $n >&2; echo $n >>$MESSAGES; sleep 0.02; done"
    play = rig.begin(f"{talk}; {UNTIL_GO}")
    lines = "".join(f"{number}\n" for number in range(1, 41)).encode()
    play.until(lambda: (play.heard.stdout, play.heard.stderr, play.heard.said) == (lines, lines, {0: lines}))
    play.go()
    assert play.result().cause == "success"


def test_a_burst_of_50_megabytes_arrives_in_little_memory(rig: Rig) -> None:
    asked = task(rig, "python3", "-c", BURST, key=("burst", "step", "call"), digest=True)
    done = subprocess.run(asked.argv(), capture_output=True, text=True, timeout=2 * PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["sizes"] == {"stdout": 50 << 20, "stderr": 3}
    assert answer["digests"]["stdout"] == hashlib.sha256(bytes(range(256)) * 4096 * 50).hexdigest()
    assert answer["grown_kib"] < 150 << 10


def test_what_the_payload_leaves_behind_says_no_more(rig: Rig) -> None:
    played = rig.run("(sleep 0.3; echo late) & echo done")
    assert (played.cause, played.heard.stdout) == ("success", b"done\n")
    assert (played.directory / "stdout.0").read_bytes() == b"done\n"


def test_the_context_arrives_however_large(rig: Rig) -> None:
    context = json.dumps({"x": "é" * (10 << 20)}, ensure_ascii=False).encode()
    played = rig.run("sha256sum <../context.json", context=context)
    assert played.heard.stdout.split()[0].decode() == hashlib.sha256(context).hexdigest()
