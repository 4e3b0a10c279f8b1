"""Control groups: what the host can enforce, and what a cluster leaves in them."""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
# Used by Slurm's plug-ins: freezer tracks processes, memory limits them.
_CONTROLLERS = ("freezer", "memory", "cpuset", "cpuacct", "devices")


def usable() -> bool:
    """Whether memory limits can be enforced: only through version 1, as version 2 wants systemd on its side."""
    return all((ROOT / controller / "cgroup.procs").exists() for controller in ("freezer", "memory"))


def thaw(uid: int) -> None:
    """Wake frozen processes of a user: they could not be killed otherwise."""
    for state in ROOT.glob(f"freezer/slurm_*/uid_{uid}/**/freezer.state"):
        state.write_text("THAWED")


def remove(uid: int, nodes: list[str], *, alone: bool) -> None:
    """Remove the groups of a user's jobs and, if no other cluster is there, those of the nodes."""
    for controller in _CONTROLLERS:
        for node in nodes:
            top = ROOT / controller / f"slurm_{node}"
            tree = top / f"uid_{uid}"
            groups = [tree, *(path for path in tree.rglob("*") if path.is_dir())] if tree.is_dir() else []
            for group in [*sorted(groups, reverse=True), *([top / "system", top] if alone else [])]:
                _rmdir(group)


def _rmdir(group: Path) -> None:
    try:
        group.rmdir()
    except OSError:
        return  # gone already, or something is in it still: then we are called again
