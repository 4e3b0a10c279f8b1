"""Beside the payload, in the job: makes the folder that it writes into, and puts its result in place, whole.

    results.py begin RESTART UMASK     before the payload; a fault is told on standard output
    results.py publish RESTART UMASK   after it ended well; the same
    results.py clear                   removes the results that were replaced

Works in the run directory, by what ``data.json`` there says. Standard library of Python 3.6 alone.
"""

import contextlib
import errno
import json
import os
import shlex
import shutil
import sys
import time
from typing import Any, Dict, List, Tuple

#: beside the partitions of an asset: says that these are partitions
PARTITIONS = ".partitions"
PREVIOUS, TRASH = "@previous", "@trash"
#: how long a name may stay invisible on NFS, in seconds
_LATE = 70.0
_TRIES = 100


class Fault(Exception):
    """Why it cannot be done, for people."""


def begin(order: Dict[str, Any], restart: str) -> None:
    """Make the folders to write into. Of earlier starts and attempts nothing stays, unless we are to continue."""
    root: str = order["root"]
    partial = _partial(order, restart)
    if not order["resume"]:
        mine = [] if order["shared"] else [order["partial"]]
        for gone in mine + order["earlier"]:
            shutil.rmtree(os.path.join(root, gone), ignore_errors=True)
    lines: List[str] = []
    for output in order["outputs"]:
        final = os.path.join(root, str(output["name"]))
        _recover(root, output["name"])
        _make_parent(root, output)
        mine = os.path.join(partial, output["name"])
        os.makedirs(mine, exist_ok=True)
        lines += ["export %s=%s\n" % (name, shlex.quote(mine)) for name in output["variables"]]
        if not os.access(os.path.dirname(final), os.W_OK | os.X_OK):
            raise Fault("%s is not writable" % os.path.dirname(final))
    os.makedirs(partial, exist_ok=True)
    os.utime(partial)  # see forget
    _link(partial)
    with open("data.%s.sh" % restart, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write("".join(lines))
    _look_for_inputs(order)


def publish(order: Dict[str, Any], restart: str) -> None:
    """Put the results in place, and note in the record what they are."""
    if _starts() > int(restart):
        raise Fault("the job was started again meanwhile; that start's result counts")
    root: str = order["root"]
    found: List[Dict[str, Any]] = []
    partial = _partial(order, restart)
    for output in order["outputs"]:
        mine, final = os.path.join(partial, output["name"]), os.path.join(root, output["name"])
        files, size = measure(mine)
        if files:
            _make_parent(root, output)
            swap(root, output["name"], mine)
        inode = os.stat(final).st_ino if os.path.exists(final) else 0
        found.append({"path": final, "name": output["name"], "files": files, "bytes": size, "inode": inode})
    line = {"event": "result", "restart": int(restart), "outputs": found}
    with open("record.jsonl", "a") as record:
        record.write(json.dumps(line) + "\n")
    # what is left are empty folders
    shutil.rmtree(os.path.join(root, order["partial"]), ignore_errors=True)
    _prune(os.path.dirname(os.path.join(root, order["partial"])), root)


def clear(order: Dict[str, Any]) -> None:
    """Remove the results that were replaced; it may take long, and nobody waits for it."""
    root = order["root"]
    trash = os.path.join(root, TRASH)
    for output in order["outputs"]:
        _discard(root, output["name"])
    for name in os.listdir(trash) if os.path.isdir(trash) else []:
        shutil.rmtree(os.path.join(trash, name), ignore_errors=True)


def forget(run_directory: str) -> None:
    """Remove what a run that is long over left of results that were never complete; results stay."""
    components = os.path.join(run_directory, "components")
    for name in os.listdir(components) if os.path.isdir(components) else []:
        forget(os.path.join(components, name))
    try:
        with open(os.path.join(run_directory, "data.json"), encoding="utf-8", errors="surrogateescape") as file:
            order: Dict[str, Any] = json.load(file)
        root = str(order["root"])
        partial = os.path.join(root, str(order["partial"]))
        # a later attempt may continue here, and then has touched it
        if (
            order["resume"]
            and os.stat(partial).st_mtime > os.stat(os.path.join(run_directory, "record.jsonl")).st_mtime
        ):
            return
        shutil.rmtree(partial, ignore_errors=True)
        _prune(os.path.dirname(partial), root)
    except (OSError, ValueError, KeyError, TypeError):
        return  # it had none


def measure(folder: str) -> Tuple[int, int]:
    """Return how many files a folder holds, and their bytes. A link counts as itself: it is not followed."""
    files = size = 0
    for above, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(above, name))]
        for name in names + links:
            files += 1
            size += os.lstat(os.path.join(above, name)).st_size
    return files, size


def swap(root: str, name: str, new: str) -> None:
    """Put a folder in the place of another. If we are killed in between, the next one who comes finds the old one."""
    final, aside = os.path.join(root, name), os.path.join(root, PREVIOUS, name)
    for _ in range(_TRIES):  # others may replace the same
        try:
            os.rename(new, final)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
        else:
            return
        _discard(root, name)
        os.makedirs(os.path.dirname(aside), exist_ok=True)
        try:
            os.rename(final, aside)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
    raise Fault("%s is replaced by others all the time" % final)


def _recover(root: str, name: str) -> None:
    """Bring a result back that was moved aside by one who was killed before the new one was in its place."""
    final, aside = os.path.join(root, name), os.path.join(root, PREVIOUS, name)
    if not os.path.lexists(final) and os.path.lexists(aside):
        with contextlib.suppress(OSError):  # somebody may have been faster
            os.rename(aside, final)


def _discard(root: str, name: str) -> None:
    """Take a replaced result out of the way at once."""
    aside, trash = os.path.join(root, PREVIOUS, name), os.path.join(root, TRASH)
    if os.path.lexists(aside):
        os.makedirs(trash, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.rename(aside, os.path.join(trash, "%x" % int.from_bytes(os.urandom(8), "big")))


def _make_parent(root: str, output: Dict[str, Any]) -> None:
    """Refuse to mix the result of an asset as a whole with results of its partitions."""
    asset = os.path.join(root, output["name"].split("/")[0])
    marker = os.path.join(asset, PARTITIONS)
    if not output["partition"]:
        os.makedirs(root, exist_ok=True)
        if os.path.exists(marker) and os.listdir(asset) == [PARTITIONS]:
            os.unlink(marker)  # no partition ever left anything there
        if os.path.exists(marker):
            raise Fault(
                "%s holds results of partitions, and %s has none: move that folder away" % (asset, output["text"])
            )
        return
    os.makedirs(asset, exist_ok=True)
    if not os.path.exists(marker):
        if os.listdir(asset):
            raise Fault("%s holds a result without partitions, and %s has some: move it away" % (asset, output["text"]))
        with open(marker, "a"):
            pass


def _look_for_inputs(order: Dict[str, Any]) -> None:
    """Say which inputs are not here; whether that matters, the payload knows."""
    deadline = time.monotonic() + (_LATE if order["late"] else 0.0)
    for source in order["inputs"]:
        name = os.path.relpath(str(source["path"]), str(order["root"]))
        while not os.path.exists(source["path"]):
            _recover(order["root"], name)
            if os.path.exists(source["path"]):
                break
            # on NFS, asking for the folder's entries shows new ones earlier than asking for the entry does
            if time.monotonic() >= deadline or not _listed(os.path.dirname(source["path"]), order["root"]):
                sys.stderr.write("dagster-slurm: nothing lies at %s (%s)\n" % (source["path"], source["text"]))
                break
            time.sleep(1)


def _listed(folder: str, root: str) -> bool:
    """Whether it is worth waiting: something of the kind was ever put there."""
    try:
        return bool(os.listdir(folder)) or folder == root
    except OSError:
        return False


def _link(partial: str) -> None:
    """Let ``output`` in the run directory lead to what this start writes into."""
    temporary = "output.%d" % os.getpid()
    os.symlink(partial, temporary)
    os.rename(temporary, "output")


def _partial(order: Dict[str, Any], restart: str) -> str:
    """Return the folder to write into: one for each start, since one that seemed lost may still write."""
    above = os.path.join(str(order["root"]), str(order["partial"]))
    return above if order["resume"] or order["shared"] else os.path.join(above, restart)


def _starts() -> int:
    """Return the number of the latest start of this job."""
    latest = 0
    with open("record.jsonl", "rb") as record:
        for line in record:
            try:
                item = json.loads(line.decode("utf-8", "replace"))
                if item["event"] == "start":
                    latest = max(latest, int(item["restart"]))
            except (ValueError, KeyError, TypeError):
                continue
    return latest


def _prune(folder: str, root: str) -> None:
    while folder.startswith(root + "/"):
        try:
            os.rmdir(folder)
        except OSError:
            return
        folder = os.path.dirname(folder)


def main(argv: List[str]) -> int:
    """Do what is asked; say on standard output why it cannot be done."""
    try:
        with open("data.json", encoding="utf-8", errors="surrogateescape") as file:
            order: Dict[str, Any] = json.load(file)
        if argv[0] == "clear":
            clear(order)
            return 0
        os.umask(int(argv[2], 8))
        (begin if argv[0] == "begin" else publish)(order, argv[1])
    except Fault as error:
        print(error)
        return 1
    except OSError as error:
        print("%s: %s" % (error.filename or "data folder", error.strerror or error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
