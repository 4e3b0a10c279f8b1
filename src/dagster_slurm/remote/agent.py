"""The agent: answers requests that arrive as frames on standard input, and sends what grows, until its input ends.

Nothing else is started on a login node. It leaves nothing behind.
"""

import contextlib
import os
import queue
import select
import signal
import sys
import threading
import time
import traceback
from typing import Any, Callable, Dict, List, Optional, Tuple, cast

from . import cleaning, frames, packages, rundir, store
from .commands import CommandMissing, Commands
from .follow import Follower
from .queues import LOOK, Queues, private_folder
from .requests import REQUESTS, Ending, Refused, Requests
from .session_requests import Leases

_POOL = 4
_HEARTBEAT = 15.0
#: what of a shared look at the queue was not touched for so long is of an agent that was killed over it, in seconds
_LEFT_BEHIND = 3600.0
#: login nodes kill what uses minutes of CPU time; we end before, and are opened again
_CPU_LIMIT = 240.0


class Agent:
    """One channel: its input, its output, and what is done for it."""

    def __init__(self, options: Dict[str, Any], tty: bool) -> None:
        self._tty = tty
        self._out = threading.Lock()
        self._commands = Commands(dict(os.environ))
        self._queues = Queues(self._commands, self.emit, options.get("queue", []), options.get("accounting", []))
        self._follower = Follower(self._gather)
        self._gathered = bytearray()
        self._requests = Requests(self._commands, self._queues)
        self._incoming: Dict[str, store.Incoming] = {}
        self._arriving = packages.Arriving()
        self._work: "queue.Queue[Tuple[Dict[str, Any], bytes]]" = queue.Queue()
        self._leases = Leases()
        self._beat = 0.0
        self._threads = 0
        self._registered = _register()

    def emit(self, head: Dict[str, Any], body: bytes) -> None:
        """Send one frame; from any thread."""
        self._write(frames.encode(head, body, self._tty))

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        with self._out:
            while view:
                view = view[os.write(1, view) :]

    def _gather(self, head: Dict[str, Any], body: bytes) -> None:
        """Keep a frame of what was followed for a moment: many small ones travel as one."""
        self._gathered += frames.encode(head, body, self._tty)
        if len(self._gathered) >= frames.MAX_BODY:
            self._send_gathered()

    def _send_gathered(self) -> None:
        if self._gathered:
            data, self._gathered = bytes(self._gathered), bytearray()
            self._write(data)

    def run(self) -> None:
        """Serve until the input ends."""
        decoder = frames.Decoder(self._tty)
        self.emit({"ev": "ready"}, b"")
        while True:
            wait = self._follower.tick(time.monotonic())
            self._send_gathered()
            self._heartbeat()
            readable, _, _ = select.select([0], [], [], min(wait, _HEARTBEAT))
            if not readable:
                continue
            data = os.read(0, 1 << 16)
            if not data:
                return
            for head, body in decoder.feed(data):
                self._take(head, body)

    def close(self) -> None:
        """Leave nothing behind, and nothing half done."""
        self._requests.finish()
        for incoming in self._incoming.values():
            incoming.discard()
        self._arriving.close()
        if self._registered:
            with contextlib.suppress(OSError):
                os.unlink(self._registered)

    def _take(self, head: Dict[str, Any], body: bytes) -> None:
        """What concerns files that are followed or uploads is done here, in order; the rest in the pool."""
        here: Optional[Callable[[Dict[str, Any], bytes], Any]] = {
            "watch": self._watch,
            "unwatch": self._unwatch,
            "job": self._job,
            "grant": self._grant,
            "put": self._put,
            "piece": self._arriving.piece,
            "collected": self._collected,
            "counts": self._counts,
            "lease": self._lease,
        }.get(head.get("op", ""))
        if here is not None:
            self._answer(head, body, here)
            return
        if self._threads < _POOL:
            self._threads += 1
            threading.Thread(target=self._pool, daemon=True).start()
        self._work.put((head, body))

    def _pool(self) -> None:
        while True:
            head, body = self._work.get()
            with contextlib.suppress(BrokenPipeError):  # whoever asked is gone; others may still be waited for
                self._answer(head, body, self._request)

    def _request(self, head: Dict[str, Any], body: bytes) -> Any:
        operation = head["op"]
        if operation not in REQUESTS:
            raise Refused("protocol", "there is no request %r" % operation)
        method: Callable[..., Any] = getattr(self._requests, operation)
        return method(head, body) if operation == "submit" else method(head)

    def _answer(self, head: Dict[str, Any], body: bytes, method: Callable[[Dict[str, Any], bytes], Any]) -> None:
        extra = b""
        try:
            result: Any = method(head, body)
            if isinstance(result, tuple):
                result, extra = cast("Tuple[Dict[str, Any], bytes]", result)
            answer: Dict[str, Any] = {"re": head.get("id"), "ok": result}
        except Ending:
            return
        except Exception as error:  # noqa: BLE001 - a fault of ours must reach the person at the other end, not a log here
            answer, extra = {"re": head.get("id"), "error": _facts(error)}, b""
        if head.get("id") is not None:
            self.emit(answer, extra)

    def _watch(self, head: Dict[str, Any], _body: bytes) -> None:
        now = time.monotonic()
        self._follower.watch(head["run"], head["dir"], head.get("offsets", {}), head["credit"], now)
        if head.get("job"):
            self._queues.follow(head["run"], head["job"])

    def _job(self, head: Dict[str, Any], _body: bytes) -> None:
        self._queues.follow(head["run"], head["job"])

    def _unwatch(self, head: Dict[str, Any], _body: bytes) -> None:
        self._follower.unwatch(head["run"])
        self._queues.leave(head["run"])

    def _lease(self, head: Dict[str, Any], _body: bytes) -> None:
        self._leases.hold(head["dir"], head["on"])

    def _grant(self, head: Dict[str, Any], _body: bytes) -> None:
        self._follower.grant(head["run"], head["credit"], time.monotonic())
        if head.get("poke"):
            self._follower.poke(head["run"], time.monotonic())

    def _put(self, head: Dict[str, Any], body: bytes) -> Dict[str, Any]:
        """Take one piece of a bundle; the last one makes it an entry of the store."""
        key = head["key"]
        if head["first"]:
            rundir.make_private(head["base"])
            previous = self._incoming.pop(key, None)
            if previous is not None:
                previous.discard()
            self._incoming[key] = store.Incoming(head["base"], key)
        incoming = self._incoming[key]
        try:
            incoming.write(body)
            return {"path": incoming.commit()} if head["last"] else {}
        finally:
            if head["last"] or sys.exc_info()[0] is not None:
                self._incoming.pop(key, None)
                incoming.discard()

    def _collected(self, head: Dict[str, Any], _body: bytes) -> None:
        """Done here, since it is often the last that a client says before it goes.

        Without an outcome only the variables go: another job continues this one, and may need its files.
        """
        if head["outcome"] is None:
            cleaning.forget_variables(head["dir"])
        else:
            cleaning.mark_collected(head["dir"], head["outcome"])

    def _counts(self, _head: Dict[str, Any], _body: bytes) -> Dict[str, Any]:
        used = os.times()
        return {
            "operations": self._follower.operations,
            "commands": dict(self._commands.counts),
            "cpu": used[0] + used[1],
            "cpu_children": used[2] + used[3],
        }

    def _heartbeat(self) -> None:
        now = time.monotonic()
        if now - self._beat < _HEARTBEAT:
            return
        self._beat = now
        self._leases.renew()
        self._follower.share = 1.0 / max(len(_agents()), 1)
        if time.process_time() > _CPU_LIMIT:
            self.emit({"ev": "bye"}, b"")
            sys.exit(0)
        self.emit({"ev": "beat"}, b"")


def _facts(error: Exception) -> Dict[str, Any]:
    """Return a failed request's error as the client understands it."""
    if isinstance(error, Refused):
        return error.answer
    if isinstance(error, store.Damaged):
        return {"kind": "damaged", "text": str(error)}
    if isinstance(error, CommandMissing):
        return {"kind": "no command", "text": str(error)}
    if isinstance(error, rundir.Locked):
        return {"kind": "locked", "text": "another process holds %s" % error}
    if isinstance(error, OSError):
        path = os.fsdecode(error.filename) if error.filename else None
        return {"kind": "storage", "text": error.strerror or str(error), "errno": error.errno, "path": path}
    return {"kind": "internal", "text": repr(error), "trace": traceback.format_exc()}


def _register() -> Optional[str]:
    """Make ourselves known to the other agents of this user on this node: they share what one may use."""
    folder = private_folder()
    if folder is None:
        return None
    cleaning.sweep_leftovers(folder, _LEFT_BEHIND, LOOK + ".")
    path = os.path.join(folder, "agent.%d" % os.getpid())
    rundir.write_whole(path, b"")
    return path


def _agents() -> List[int]:
    """Return the process ids of this user's agents on this node."""
    folder = private_folder()
    found: List[int] = []
    for name in os.listdir(folder) if folder else []:
        pid = name[6:]
        if not name.startswith("agent.") or not pid.isdigit():
            continue
        try:
            os.kill(int(pid), 0)
            found.append(int(pid))
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(folder or "", name))  # it was killed
    return found


def heed_signals() -> None:
    """Ignore none: job scripts that are started from here would inherit it, and bash cannot trap what was ignored.

    Dagster may run under nohup or in the background of a script; the agent beside it has a session of its own.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def main(options: Dict[str, Any], tty: bool) -> None:
    """Run the agent."""
    heed_signals()
    agent = Agent(options, tty)
    try:
        agent.run()
    except (BrokenPipeError, KeyboardInterrupt):
        pass
    finally:
        agent.close()
    os._exit(0)  # threads may wait for a scheduler's command that takes its time
