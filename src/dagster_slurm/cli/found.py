"""The jobs that a command is about."""

from __future__ import annotations

from dagster_slurm.engine.overview import MOST, Seen, look, matching
from dagster_slurm.engine.target import Target
from dagster_slurm.errors import ConfigurationError


def base_of(target: Target) -> str:
    """Return the folder with runs, as the host understands it."""
    return target.place().base


def jobs_of(target: Target, *, everything: bool = False, fresh: bool = False, most: int = MOST) -> list[Seen]:
    """Return the runs there; the newest first."""
    return look(target.host, target.scheduler, base_of(target), everything=everything, fresh=fresh, most=most)


def meant(target: Target, text: str, *, ended: bool = True, fresh: bool = False) -> list[Seen]:
    """Return the runs that somebody means.

    Args:
        target: where.
        text: a job's id or name, a step, or the beginning of a Dagster run's id.
        ended: also those that have ended.
        fresh: ask the queue now.

    Raises:
        ConfigurationError: there is none.
    """
    found = matching(jobs_of(target, everything=ended, fresh=fresh), text)
    found = found if ended else [seen for seen in found if not seen.ended]
    if not found:
        which = "" if ended else " that goes on"
        raise ConfigurationError(
            f"there is no job{which} of ours by {text!r} below {target.base} on {target.host.name}",
            hint="`dagster-slurm jobs --all` lists them; --base names another folder.",
        )
    return found


def one_meant(target: Target, text: str, *, ended: bool = True, fresh: bool = False) -> Seen:
    """Return the run that somebody means; of several of one asset the newest.

    Raises:
        ConfigurationError: there is none, or a Dagster run with several steps is meant.
    """
    found = meant(target, text, ended=ended, fresh=fresh)
    if len({seen.step for seen in found}) > 1:
        steps = ", ".join(f"{seen.job or '-'} ({seen.step})" for seen in found)
        raise ConfigurationError(f"{text!r} may mean several jobs: {steps}", hint="Give one job's id.")
    return found[0]
