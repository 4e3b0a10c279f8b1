"""Which cluster serves an asset: one that is warm, another one, or one in place of an idle one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Shape:
    """What a cluster has, or an asset asks for.

    Args:
        nodes: how many.
        cpus: CPUs on each node; None: all that is there (of a cluster), whatever there is (of an asset).
        memory: MiB on each node; None as above.
        gpus: GPUs on each node.
    """

    nodes: int = 1
    cpus: int | None = None
    memory: int | None = None
    gpus: int = 0


@dataclass(frozen=True)
class Warm:
    """A cluster that is there, or being started.

    Args:
        number: which, in its scope.
        name: for people.
        kind: what must be equal: framework, environment, settings of the daemons.
        shape: what it has.
        users: how many assets use it now.
        ending: it takes no more users.
    """

    number: int
    name: str
    kind: str
    shape: Shape
    users: int = 0
    ending: bool = False


@dataclass(frozen=True)
class Choice:
    """What to do for an asset.

    Args:
        action: ``reuse`` the cluster with that number, ``start`` another, or ``replace`` that one by another.
        why: for people; why no cluster is reused, if so.
        number: which cluster is meant.
    """

    action: Literal["reuse", "start", "replace"]
    why: str
    number: int | None = None


def covers(have: Shape, want: Shape, tolerance: float) -> bool:
    """Whether a cluster serves what is asked for.

    It must be enough on each node, since a task runs on one, and in sum. CPUs and memory may be fewer by ``tolerance``
    (0.15: by 15 %), GPUs never. More of anything does no harm.
    """
    return not lacks(have, want, tolerance)


def lacks(have: Shape, want: Shape, tolerance: float) -> list[str]:
    """Return what a cluster has too little of, in words; nothing if it serves."""
    rest = 1.0 - tolerance
    found: list[str] = []
    for unit, has, asked, part in (
        ("CPUs", have.cpus, want.cpus, rest),
        ("MiB of memory", have.memory, want.memory, rest),
        ("GPUs", have.gpus, want.gpus, 1.0),
    ):
        if has is None or not asked:
            continue
        if not _enough(has, asked, part):
            found.append(f"{has} {unit} on each node, {asked} are asked for")
        elif not _enough(has * have.nodes, asked * want.nodes, part):
            found.append(f"{has * have.nodes} {unit} in all, {asked * want.nodes} are asked for")
    return found


def choose(clusters: Sequence[Warm], kind: str, want: Shape, tolerance: float, room: Shape | None = None) -> Choice:
    """Return which cluster an asset is to use.

    Args:
        clusters: those that are alive.
        kind: of the cluster that is asked for.
        want: what is asked for.
        tolerance: see :func:`covers`.
        room: what all clusters together may have; None: whoever starts them finds out.
    """
    able = [item for item in clusters if not item.ending]
    like = [item for item in able if item.kind == kind]
    fitting = [item for item in like if covers(item.shape, want, tolerance)]
    if fitting:
        best = min(fitting, key=lambda item: (item.users, _size(item.shape), item.number))
        return Choice("reuse", "", best.number)
    why = _why_none(able, like, want, tolerance)
    if room is None or _fits(clusters, want, room):
        return Choice("start", why)
    idle = [item for item in able if not item.users]
    # the smallest that makes enough room; else another one must do, as no user is ever thrown out
    for item in sorted(idle, key=lambda item: (item.kind != kind, _size(item.shape), item.number)):
        if _fits([other for other in clusters if other is not item], want, room):
            return Choice("replace", f"{why}; {item.name} was idle and made room", item.number)
    return Choice("start", why)


def check_tolerance(value: float) -> bool:
    """Whether it is a part of a whole: 0 or more, and less than 1."""
    return 0.0 <= value < 1.0


def _enough(has: int, asked: int, part: float) -> bool:
    # 0.85 * 20 is a little more than 17 to a computer
    return has >= asked * part - 1e-9


def _size(shape: Shape) -> tuple[float, float, float]:
    unknown = float("inf")
    return (
        shape.gpus * shape.nodes,
        unknown if shape.cpus is None else shape.cpus * shape.nodes,
        unknown if shape.memory is None else shape.memory * shape.nodes,
    )


def _why_none(able: Sequence[Warm], like: Sequence[Warm], want: Shape, tolerance: float) -> str:
    if not able:
        return "there was none"
    if not like:
        return "there was none with this environment and these settings"
    last = like[-1]
    return f"{last.name} has {', and '.join(lacks(last.shape, want, tolerance))}"


def _fits(clusters: Iterable[Warm], want: Shape, room: Shape) -> bool:
    shapes = [item.shape for item in clusters] + [want]
    limits = (
        (room.cpus, [shape.cpus for shape in shapes]),
        (room.memory, [shape.memory for shape in shapes]),
        (room.gpus, [shape.gpus for shape in shapes]),
    )
    for limit, parts in limits:
        if limit is None:
            continue
        # what is not limited takes all
        asked = (
            limit * room.nodes if part is None else part * shape.nodes
            for part, shape in zip(parts, shapes, strict=True)
        )
        if sum(asked) > limit * room.nodes:
            return False
    return True
