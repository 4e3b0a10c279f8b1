"""``dagster-slurm session list|stop``: the allocations that assets share."""

from __future__ import annotations

import json
from typing import Any

import click

from dagster_slurm.cli.jobs import duration
from dagster_slurm.cli.place import cluster_options, opened
from dagster_slurm.core import record as records
from dagster_slurm.engine.target import Target
from dagster_slurm.errors import ConfigurationError

_WHY = "stopped by dagster-slurm session stop"


@click.group()
def session() -> None:
    """Sessions on a cluster: allocations that assets share."""


@session.command("list")
@cluster_options
@click.option("--all", "everything", is_flag=True, help="Also those that have ended.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_sessions(*, host: str | None, profile: str | None, base: str | None, everything: bool, as_json: bool) -> None:
    """Show the sessions below the base folder: their jobs, and their node hours with and without work."""
    with opened(host, profile, base) as target:
        found = [seen for seen in _sessions(target) if everything or not seen["ended"]]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for seen in found:
        click.echo(_line(seen))
    click.echo(f"{len(found)} sessions")


@session.command()
@cluster_options
@click.argument("which")
@click.option("--now", is_flag=True, help="Cancel its job, and with it the assets that run.")
def stop(*, host: str | None, profile: str | None, base: str | None, which: str, now: bool) -> None:
    """Stop session WHICH (its name or its job): it takes no more work, and ends when what runs in it has ended."""
    with opened(host, profile, base) as target:
        meant = [seen for seen in _sessions(target) if not seen["ended"] and which in (seen["name"], seen["job"])]
        if not meant:
            raise ConfigurationError(
                f"there is no session {which!r} that goes on below {target.base} on {target.host.name}",
                hint="`dagster-slurm session list` shows them; --base names another folder.",
            )
        for seen in meant:
            target.host.request("tell_session", dir=seen["dir"], item={"op": "stop", "why": _WHY})
            if now or seen["state"] == "pending":
                _cancel(target, seen)
            click.echo(
                f"Session {seen['name']} (job {seen['job']}) {'was cancelled' if now else 'takes no more work'}."
            )


def _cancel(target: Target, seen: dict[str, Any]) -> None:
    target.host.request("cancel", dir=seen["dir"], kind=target.scheduler.kind, find=[], no_job=target.scheduler.no_job)


def _sessions(target: Target) -> list[dict[str, Any]]:
    """Return the latest allocation of each session, with one look at the queue for all that may go on."""
    answer, _ = target.host.request("sessions", base=target.place().base)
    found = [_described(item) for item in answer["sessions"]]
    asked = [{"id": seen["job"]} for seen in found if not seen["ended"] and seen["job"]]
    rows: list[str] = []
    if asked:
        looked, _ = target.host.request("status", kind=target.scheduler.kind, jobs=asked, accounting=False)
        if not looked["queue"]["ok"]:
            return found
        rows = looked["queue"]["rows"]
    for seen in found:
        row = target.scheduler.queue_row(rows, seen["job"]) if not seen["ended"] else None
        if not seen["ended"]:
            seen["state"] = row.state.value if row is not None else "gone"
            seen["ended"] = row is None or row.state.terminal
    return found


def _described(item: dict[str, Any]) -> dict[str, Any]:
    record = records.parse(str(item["record"]))
    about: dict[str, Any] = json.loads(item["about"] or "{}")
    start, over = record.start, record.exit
    return {
        "name": about.get("name", item["key"]),
        "generation": item["generation"],
        "job": str(item["claim"] or item["job"].get("id") or ""),
        "state": "ended" if over is not None else "submitted",
        "ended": over is not None,
        "closed": item["closed"],
        "nodes": start.nodes if start is not None else "",
        "busy_node_hours": record.facts.get("session_busy_node_hours", 0.0),
        "idle_node_hours": record.facts.get("session_idle_node_hours", 0.0),
        "dir": item["dir"],
    }


def _line(seen: dict[str, Any]) -> str:
    state = f"{seen['state']}, closed: {seen['closed']}" if seen["closed"] else seen["state"]
    busy, idle = (duration(float(seen[f"{kind}_node_hours"]) * 3600) for kind in ("busy", "idle"))
    where = f"{seen['job'] or '-':>8}  {state:<12}  {seen['nodes'] or '-':<12}"
    return f"{seen['name']:<24}  {where}  busy {busy}, idle {idle}"
