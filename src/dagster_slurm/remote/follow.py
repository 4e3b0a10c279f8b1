"""Reads what grows in run directories and sends it on, within a fixed number of file operations a second.

A file is opened anew for each read: on NFS that alone shows new bytes. Files that grow are read often, quiet ones
rarely, and those of a job that has not begun hardly at all.
"""

import heapq
import json
import os
from typing import Any, Callable, Dict, List, Optional, Tuple

from .frames import MAX_BODY

Send = Callable[[Dict[str, Any], bytes], None]

#: file operations (an open with what follows it) that one agent does in a second at most
OPERATIONS_PER_SECOND = 50.0
_BURST = 100.0
_SHORTEST = 0.03
_TALKING = 60.0
RECORD = "record.jsonl"


class File:
    """One file that is followed."""

    def __init__(self, name: str, offset: int, now: float) -> None:
        self.name = name
        self.offset = offset
        self.grew = now
        self.wanted = 0  # it is known to reach this size
        self.has_grown = False
        self.turn = 0  # the entry of the schedule that counts; earlier ones are void

    def interval(self, now: float, run_age: float, started: bool) -> float:
        """Return after how many seconds to look again."""
        if self.offset < self.wanted:
            return _SHORTEST
        age = now - self.grew
        if not started:
            # the job waits in the queue: its start is seen by the shared look at the queue as well
            return min(max(run_age / 20, _SHORTEST), 10.0) if self.name == RECORD else 10.0
        if self.name == RECORD:
            return min(max(run_age / 20, _SHORTEST), 2.0)
        if self.has_grown and age < _TALKING:
            return min(max(age / 10, 0.1), 0.25)
        return min(max(age / 10, 0.1), 1.0 if age < _TALKING else 5.0)


class Watch:
    """One run directory that is followed."""

    def __init__(self, run: int, directory: str, offsets: Dict[str, int], credit: int, now: float) -> None:
        self.run = run
        self.directory = directory
        self.credit = credit
        self.begun = now
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
        self.files[name] = File(name, self.offsets.get(name, offset), now)
        return self.files[name]

    def learn(self, data: bytes, now: float) -> List[File]:
        """Take in new bytes of the record; return the files to read next."""
        lines = (self.tail + data).split(b"\n")
        self.tail = lines.pop()
        news: List[File] = []
        for line in lines:
            try:
                event = json.loads(line.decode("utf-8", "replace"))
                kind, restart = event["event"], int(event.get("restart", 0))
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # the reader on the other side says so
            names = {"stdout": "stdout.%d", "stderr": "stderr.%d", "messages": "messages.%d.jsonl"}
            if kind == "start":
                self.started, self.begun = True, now
                news += [file for file in (self.add(names[key] % restart, 0, now) for key in names) if file]
            elif kind == "exit":
                sizes: Dict[str, int] = event.get("sizes") or {}
                for key, pattern in names.items():
                    file = self.files.get(pattern % restart)
                    if file:
                        file.wanted = int(sizes.get(key, 0))
                        news.append(file)
        return news


class Follower:
    """All run directories that are followed, and when to look at which file next."""

    def __init__(self, send: Send, share: float = 1.0) -> None:
        self._send = send
        self._watches: Dict[int, Watch] = {}
        self._due: List[Tuple[float, int, int, str]] = []
        self._order = 0
        self._tokens = _BURST
        self._filled = 0.0
        #: the part of the allowed operations that is ours; other agents of the same user have the rest
        self.share = share
        self.operations = 0

    def watch(self, run: int, directory: str, offsets: Dict[str, int], credit: int, now: float) -> None:
        """Follow a run directory from these offsets on; send at most ``credit`` bytes until more is granted."""
        watch = Watch(run, directory, offsets, credit, now)
        self._watches[run] = watch
        self._schedule(watch, RECORD, now)

    def unwatch(self, run: int) -> None:
        """Follow a run directory no more."""
        self._watches.pop(run, None)

    def grant(self, run: int, credit: int, now: float) -> None:
        """Let more bytes of a run be sent: the reader has taken those before."""
        watch = self._watches.get(run)
        if watch is None:
            return
        exhausted = watch.credit <= 0
        watch.credit += credit
        if exhausted and watch.credit > 0:
            for name in watch.files:
                self._schedule(watch, name, now)

    def poke(self, run: int, now: float) -> None:
        """Look at a run at once: the queue says that something has changed."""
        watch = self._watches.get(run)
        if watch is not None:
            self._schedule(watch, RECORD, now)

    def tick(self, now: float) -> float:
        """Do what is due; return how many seconds to sleep at most."""
        rate = OPERATIONS_PER_SECOND * self.share
        self._tokens = min(self._tokens + (now - self._filled) * rate, _BURST * self.share)
        self._filled = now
        while self._due and self._due[0][0] <= now:
            if self._tokens < 1:
                return 1 / rate
            _, turn, run, name = heapq.heappop(self._due)
            watch = self._watches.get(run)
            file = watch.files.get(name) if watch else None
            if watch and file and file.turn == turn and watch.credit > 0:
                self._tokens -= 1
                self._read(watch, file, now)
        return max(self._due[0][0] - now, 0.0) if self._due else 60.0

    def _schedule(self, watch: Watch, name: str, when: float) -> None:
        self._order += 1
        watch.files[name].turn = self._order
        heapq.heappush(self._due, (when, self._order, watch.run, name))

    def _read(self, watch: Watch, file: File, now: float) -> None:
        self.operations += 1
        data, more = _new_bytes(os.path.join(watch.directory, file.name), file.offset, min(MAX_BODY, watch.credit))
        if data:
            self._send({"ev": "data", "run": watch.run, "file": file.name, "at": file.offset}, data)
            file.offset += len(data)
            file.grew, file.has_grown = now, True
            if file.name != RECORD:
                watch.credit -= len(data)
        if data and file.name == RECORD:
            for other in watch.learn(data, now):
                self._schedule(watch, other.name, now)
        again = 0.0 if more else file.interval(now, now - watch.begun, watch.started)
        self._schedule(watch, file.name, now + again)


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
