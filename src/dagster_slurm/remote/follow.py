"""Reads what grows in run directories and sends it on, within a fixed number of file operations a second.

A file is opened anew for each look: on NFS that alone shows new bytes. Which file is looked at how often is decided in
:mod:`.pace`; here, all that is due in the same moment is done at once, since waking up costs more than looking.
"""

import heapq
import json
import os
from typing import Any, Callable, Dict, List, Optional, Tuple

from . import pace
from .frames import MAX_BODY

Send = Callable[[Dict[str, Any], bytes], None]

#: file operations (an open with what follows it) that all agents of a user do in a second at most
OPERATIONS_PER_SECOND = 50.0
#: how many of them are planned: the rest is for what cannot be
_PLANNED = 0.95
#: how many of them one that was idle may do at once
_BURST, _LEAST_BURST = 100.0, 25.0
#: how many bytes one operation takes at most
_GULP = 4 * MAX_BODY
#: moments at which files are looked at, in seconds apart: for those that are looked at often, and the others
_BEAT, _SLOW_BEAT = 0.05, 0.25
RECORD = "record.jsonl"
_OUTPUT = {"stdout": "stdout.%d", "stderr": "stderr.%d", "messages": "messages.%d.jsonl"}
#: what a payload writes last into its messages: the end of the job is near
_CLOSED = b'"method": "closed"'


class File:
    """One file that is followed."""

    def __init__(self, name: str, path: str, offset: int, now: float) -> None:
        self.name = name
        self.path = path
        self.offset = offset
        self.pace = pace.Pace(now)
        self.wanted = 0  # it is known to reach this size
        self.weight = 0.0  # as it stands in the follower's sum
        self.turn = 0  # the entry of the schedule that counts; earlier ones are void


class Watch:
    """One run directory that is followed."""

    def __init__(self, run: int, directory: str, offsets: Dict[str, int], credit: int, now: float) -> None:
        self.run = run
        self.directory = directory
        self.credit = credit
        #: when the last thing happened after which the record is expected to grow
        self.expecting = now
        self.started = False
        self.files: Dict[str, File] = {}
        self.tail = b""
        self.offsets = offsets
        # The record is always read from its beginning: it names the other files.
        self.add(RECORD, 0, now)

    def add(self, name: str, offset: int, now: float) -> Optional[File]:
        """Follow one more file; None if it is followed already."""
        if name in self.files:
            return None
        self.files[name] = File(name, os.path.join(self.directory, name), self.offsets.get(name, offset), now)
        return self.files[name]

    def learn(self, data: bytes, now: float) -> List[File]:
        """Take in new bytes of the record; return the files to read next."""
        lines = (self.tail + data).split(b"\n")
        self.tail = lines.pop()
        news: List[File] = []
        for line in lines:
            try:
                event: Dict[str, Any] = json.loads(line.decode("utf-8", "replace"))
                kind, restart = event["event"], int(event.get("restart", 0))
                promised: Dict[str, Any] = event.get("sizes") or {}
                sizes = {name: int(size) for name, size in promised.items()}
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
                continue  # damaged; the reader on the other side takes no notice of it either
            if kind == "start":
                self.started, self.expecting = True, now
                news += [file for file in (self.add(_OUTPUT[key] % restart, 0, now) for key in _OUTPUT) if file]
            elif kind == "exit":
                self.expecting = now
                for key, pattern in _OUTPUT.items():
                    file = self.files.get(pattern % restart)
                    if file:
                        file.wanted = sizes.get(key, 0)
                        news.append(file)
        return news

    def looks(self, file: File, now: float) -> Tuple[float, float]:
        """Return after how many seconds one would look at a file again, and which part of all looks is due to it."""
        waited = now - self.expecting
        if file.name == RECORD or file.offset < file.wanted:
            return (pace.running if self.started else pace.pending)(waited), pace.weight_of_record(waited)
        return file.pace.wish(now), file.pace.weight(now)


class Follower:
    """All run directories that are followed, and when to look at which file next."""

    def __init__(self, send: Send, share: float = 1.0) -> None:
        self._send = send
        self._watches: Dict[int, Watch] = {}
        self._due: List[Tuple[float, int, int, str]] = []
        self._weights = 0.0  # of all files
        self._order = 0
        self._tokens = _BURST
        self._filled = 0.0
        #: the part of the allowed operations that is ours; other agents of the same user have the rest
        self.share = share
        self.operations = 0

    def watch(self, run: int, directory: str, offsets: Dict[str, int], credit: int, now: float) -> None:
        """Follow a run directory from these offsets on; send at most ``credit`` bytes until more is granted."""
        watch = Watch(run, directory, offsets, credit, now)
        self.unwatch(run)
        self._watches[run] = watch
        self._schedule(watch, watch.files[RECORD], now)

    def unwatch(self, run: int) -> None:
        """Follow a run directory no more."""
        watch = self._watches.pop(run, None)
        if watch is not None:
            self._weights -= sum(file.weight for file in watch.files.values())
        if not self._watches:
            self._weights, self._due = 0.0, []

    def grant(self, run: int, credit: int, now: float) -> None:
        """Let more bytes of a run be sent: the reader has taken those before."""
        watch = self._watches.get(run)
        if watch is None:
            return
        exhausted = watch.credit <= 0
        watch.credit += credit
        if exhausted and watch.credit > 0:
            for file in watch.files.values():
                self._schedule(watch, file, now)

    def poke(self, run: int, now: float) -> None:
        """Look at a run at once: the queue says that something has changed."""
        watch = self._watches.get(run)
        if watch is not None:
            self._schedule(watch, watch.files[RECORD], now)

    def tick(self, now: float) -> float:
        """Do what is due; return how many seconds to sleep at most."""
        rate = OPERATIONS_PER_SECOND * self.share
        self._tokens = min(self._tokens + (now - self._filled) * rate, max(_BURST * self.share, _LEAST_BURST))
        self._filled = now
        while self._due and self._due[0][0] <= now:
            if self._tokens < 1:
                return _BEAT + 1 / rate
            _, turn, run, name = heapq.heappop(self._due)
            watch = self._watches.get(run)
            file = watch.files.get(name) if watch else None
            if watch and file and file.turn == turn and watch.credit > 0:
                self._tokens -= 1
                self._read(watch, file, now)
        return max(self._due[0][0] - now, 0.0) if self._due else 60.0

    def _schedule(self, watch: Watch, file: File, when: float) -> None:
        self._order += 1
        file.turn = self._order
        heapq.heappush(self._due, (when, self._order, watch.run, file.name))

    def _read(self, watch: Watch, file: File, now: float) -> None:
        self.operations += 1
        data, more = _new_bytes(file.path, file.offset, min(_GULP, watch.credit))
        for start in range(0, len(data), MAX_BODY):
            piece = data[start : start + MAX_BODY]
            self._send({"ev": "data", "run": watch.run, "file": file.name, "at": file.offset}, piece)
            file.offset += len(piece)
        if data:
            file.pace.news(now, data.count(b"\n"))
            if file.name == RECORD:
                for other in watch.learn(data, now):
                    self._schedule(watch, other, now)
            else:
                watch.credit -= len(data)
                self._hear(watch, file, data, now)
        self._schedule(watch, file, now if more else self._next(watch, file, now))

    def _hear(self, watch: Watch, file: File, data: bytes, now: float) -> None:
        if file.name.startswith("messages") and _CLOSED in data:
            watch.expecting = now
            self._schedule(watch, watch.files[RECORD], now)

    def _next(self, watch: Watch, file: File, now: float) -> float:
        """Return when to look at a file again: as one would wish, or as its part of the operations allows."""
        wish, weight = watch.looks(file, now)
        self._weights += weight - file.weight
        file.weight = weight
        part = weight / self._weights * OPERATIONS_PER_SECOND * self.share * _PLANNED
        again = max(wish, min(1 / part, file.pace.longest(now)))
        if again < 2 * _BEAT:
            return now + again
        beat = _BEAT if again < 4 * _SLOW_BEAT else _SLOW_BEAT
        return round((now + again) / beat) * beat


def _new_bytes(path: str, offset: int, limit: int) -> Tuple[bytes, bool]:
    """Return bytes behind an offset, and whether there are more at once."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return b"", False  # not there yet, or not visible yet
    try:
        data = os.pread(descriptor, limit, offset)
    except OSError:
        return b"", False  # a stale handle: the next open gives a fresh one
    finally:
        os.close(descriptor)
    return data, len(data) == limit
