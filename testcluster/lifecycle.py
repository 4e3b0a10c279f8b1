"""Bringing a cluster up, and removing every trace of it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Generator
from pathlib import Path

from testcluster import account, accounting, build, cgroups, database, packages, processes, tree
from testcluster.daemons import daemons, is_running, launch, wait_ready
from testcluster.execute import ClusterError, run, wait_for
from testcluster.layout import Layout, names
from testcluster.machine import Machine
from testcluster.options import ClusterOptions
from testcluster.state import State

# states of a node that takes jobs, or will in a moment
_ABLE = ("idle", "mixed", "allocated", "completing")


@contextlib.contextmanager
def locked(layout: Layout) -> Generator[None]:
    """Hold the cluster's folder: one `up` or `down` at a time."""
    while True:
        layout.root.mkdir(mode=0o755, parents=True, exist_ok=True)
        folder = os.open(layout.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if os.fstat(folder).st_uid != os.geteuid():
                msg = f"{layout.root} belongs to somebody else"
                raise ClusterError(msg)
            fcntl.flock(folder, fcntl.LOCK_EX)
            # A `down` that we waited for has removed the folder that we hold.
            if os.fstat(folder).st_nlink:
                yield
                return
        finally:
            os.close(folder)


def bring_up(layout: Layout, options: ClusterOptions) -> Machine:
    """Start what is missing; a cluster that exists keeps its ports and password."""
    with locked(layout):
        state = State.load(layout)
        if state is None:
            state = State.new(options)
            state.save(layout)
        elif state.options != options:
            msg = f"cluster {options.name} is there with other options; take it down first"
            raise ClusterError(msg)
        machine = Machine(layout, state)
        if not all(is_running(layout, daemon.name) for daemon in daemons(machine)):
            _start(machine)
        return machine


def _start(machine: Machine) -> None:
    options = machine.options
    packages.install(_extra_programs(options))
    if options.release != "host":
        tree.make(options.release)
    build.build(machine)
    table = daemons(machine)
    for daemon in table:
        launch(machine.layout, daemon)
        # slurmd and sshd come last and wait for nobody
        if daemon.name in ("munged", "database", "slurmdbd", "slurmctld"):
            wait_ready(machine.layout, daemon)
        if daemon.name == "database":
            database.create(machine)
        if daemon.name == "slurmdbd":
            accounting.set_up(machine)
    for daemon in table:
        wait_ready(machine.layout, daemon)
    _wait_idle(machine)
    _try_job(machine)


def _extra_programs(options: ClusterOptions) -> list[str]:
    """Programs that the host needs for some options only."""
    extra = [options.login_shell] if options.login_shell != "bash" else []
    if options.late_files:
        extra.append("bindfs")
    return [*extra, "debootstrap"] if options.release != "host" else extra


def _wait_idle(machine: Machine) -> None:
    """Wait until every node can take a job."""
    names = set(machine.options.node_names)

    def ready() -> bool:
        words = machine.run(["sinfo", "--noheader", "--Node", "--format=%N %T"]).split()
        return set(words[::2]) == names and all(word in _ABLE for word in words[1::2])

    wait_for("nodes idle", ready, timeout=30, interval=0.1)


def _try_job(machine: Machine) -> None:
    """Run a job on one node, and find it in accounting."""
    name = "cluster-check"
    output = run(machine.as_user(["srun", f"--job-name={name}", "--mem=50", "hostname"]), timeout=30)
    if not output.strip():
        msg = "a first job printed nothing"
        raise ClusterError(msg)
    if machine.options.accounting:
        query = machine.as_user(["sacct", "--name", name, "-S", "now-1hour", "-X", "-P", "-n", "-o", "State"])
        wait_for("the first job's record", lambda: "COMPLETED" in run(query), timeout=15, interval=0.1)


def take_down(layout: Layout) -> None:
    """Remove the cluster, whatever state it is in."""
    if not layout.root.exists() and not account.exists(layout):
        return
    with locked(layout):
        state = State.load(layout)
        _kill_everything(layout)
        if account.exists(layout):
            nodes = state.options.node_names if state is not None else []
            uid = account.uid(layout)
            alone = set(names()) <= {layout.name}
            wait_for("control groups removed", lambda: _cgroups_gone(uid, nodes, alone=alone), timeout=10)
            account.remove(layout)
        if state is not None:
            _remove_from_tree(Machine(layout, state))
        shutil.rmtree(layout.root)
    if layout.root.parent.name == ".cluster":
        with contextlib.suppress(OSError):  # other clusters live there
            layout.root.parent.rmdir()


def _remove_from_tree(machine: Machine) -> None:
    machine.pam_service.unlink(missing_ok=True)
    if machine.root != Path("/"):
        with contextlib.suppress(FileNotFoundError):
            (machine.root / machine.layout.root.relative_to("/")).rmdir()  # the folder that ours was mounted on


def _kill_everything(layout: Layout) -> None:
    recorded = [processes.recorded_pid(path) for path in layout.run.glob("*.pid")]
    processes.stop([pid for pid in recorded if pid is not None], patience=0)
    # more than once: what dies may just have started something
    wait_for("all processes ended", lambda: not _kill_rest(layout), timeout=20)


def _kill_rest(layout: Layout) -> list[int]:
    """Kill what the daemons left; returns what there was."""
    pids = [*processes.writing_below(layout.log), *processes.writing_below(layout.database)]
    if account.exists(layout):
        uid = account.uid(layout)
        cgroups.thaw(uid)
        pids += processes.of_user(uid)
    processes.stop(pids, patience=0)
    return pids


def _cgroups_gone(uid: int, nodes: list[str], *, alone: bool) -> bool:
    cgroups.remove(uid, nodes, alone=alone)
    return not list(cgroups.ROOT.glob(f"*/slurm_*/uid_{uid}"))
