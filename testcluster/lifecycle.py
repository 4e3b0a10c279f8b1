"""Bringing a cluster up, and removing every trace of it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator

from testcluster import account, accounting, build, cgroups, packages, processes
from testcluster.daemons import daemons, is_running, launch, wait_ready
from testcluster.execute import ClusterError, clean_environment, run, wait_for
from testcluster.layout import Layout
from testcluster.state import State

_SHELL_PROGRAMS = {"tcsh", "fish"}


@contextlib.contextmanager
def locked(layout: Layout) -> Iterator[None]:
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


def bring_up(layout: Layout, wanted: State) -> State:
    """Start what is missing; a cluster that exists keeps its ports and password."""
    with locked(layout):
        state = State.load(layout)
        if state is None:
            state = wanted
            state.save(layout)
        elif state.options != wanted.options:
            msg = f"cluster {state.options.name} is there with other options; take it down first"
            raise ClusterError(msg)
        if not all(is_running(layout, daemon.name) for daemon in daemons(layout, state)):
            _start(layout, state)
        return state


def _start(layout: Layout, state: State) -> None:
    packages.install(sorted(_SHELL_PROGRAMS & {state.options.login_shell}))
    build.build(layout, state)
    table = daemons(layout, state)
    for daemon in table:
        launch(layout, daemon)
        # slurmd and sshd come last and wait for nobody
        if daemon.name in ("munged", "database", "slurmdbd", "slurmctld"):
            wait_ready(layout, daemon)
        if daemon.name == "database":
            build.database.create(layout)
        if daemon.name == "slurmdbd":
            accounting.set_up(layout, state.options)
    for daemon in table:
        wait_ready(layout, daemon)
    wait_idle(layout, state)
    _try_job(layout, state)


def wait_idle(layout: Layout, state: State) -> None:
    """Wait until every node can take a job."""
    env = clean_environment(SLURM_CONF=str(layout.slurm_conf))
    busy = ("idle", "mixed", "allocated", "completing")

    def ready() -> bool:
        words = run(["sinfo", "--noheader", "--Node", "--format=%N %T"], env=env).split()
        return set(words[::2]) == set(state.options.node_names) and all(word in busy for word in words[1::2])

    wait_for("nodes idle", ready, timeout=30, interval=0.1)


def _try_job(layout: Layout, state: State) -> None:
    """Run a job on one node, and find it in accounting."""
    env = clean_environment(SLURM_CONF=str(layout.slurm_conf))
    user = as_user(layout)
    name = "cluster-check"
    output = run([*user, *assignments(env), "srun", f"--job-name={name}", "--mem=50", "hostname"], timeout=30)
    if not output.strip():
        msg = "a first job printed nothing"
        raise ClusterError(msg)
    if not state.options.accounting:
        return
    query = ["sacct", "--name", name, "-S", "now-1hour", "-X", "-P", "-n", "-o", "State"]
    wait_for("the first job's record", lambda: "COMPLETED" in run([*user, *assignments(env), *query]), timeout=15)


def assignments(env: dict[str, str]) -> list[str]:
    """A command's prefix that replaces its environment."""
    return ["env", "-i", *(f"{name}={value}" for name, value in env.items())]


def as_user(layout: Layout) -> list[str]:
    """A command's prefix that makes it run as the cluster's user; needs root."""
    return ["setpriv", f"--reuid={layout.user}", f"--regid={layout.user}", "--init-groups"]


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
            wait_for("control groups removed", lambda: _cgroups_gone(uid, nodes), timeout=10)
            account.remove(layout)
        shutil.rmtree(layout.root)
    if layout.root.parent.name == ".cluster":
        with contextlib.suppress(OSError):  # other clusters live there
            layout.root.parent.rmdir()


def _kill_everything(layout: Layout) -> None:
    recorded = [processes.recorded_pid(path) for path in layout.run.glob("*.pid")]
    processes.stop([pid for pid in recorded if pid is not None], patience=0)
    # more than once: what dies may just have started something
    wait_for("all processes ended", lambda: not _kill_rest(layout), timeout=20)


def _kill_rest(layout: Layout) -> list[int]:
    """Kill what the daemons left; returns what there was."""
    pids = processes.marked(layout.root)
    if account.exists(layout):
        uid = account.uid(layout)
        cgroups.thaw(uid)
        pids += processes.of_user(uid)
    processes.stop(pids, patience=0)
    return pids


def _cgroups_gone(uid: int, nodes: list[str]) -> bool:
    cgroups.remove(uid, nodes)
    return not list(cgroups.ROOT.glob(f"*/slurm_*/uid_{uid}"))
