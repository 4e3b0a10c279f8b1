"""Sends packages to the host: only what is missing there, continued where it was broken off."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path

from dagster_slurm.environments.environment import Absent, Agent, Tell
from dagster_slurm.environments.lock_file import Locked
from dagster_slurm.environments.progress import Progress, megabytes
from dagster_slurm.errors import EnvironmentUnavailable

_CHUNK = 256 * 1024
#: pieces that are on their way at once: 4 MB, for the sake of slow answers and of others who use the channel
_WINDOW = 16
_DOWNLOADS = 6
_ATTEMPTS = 3


def send_missing(
    agent: Agent,
    base: str,
    packages: list[Locked],
    fetch: Callable[[Locked], Path],
    *,
    tell: Tell,
    absent: Absent | None = None,
) -> int:
    """Make sure that packages are on the host; return how many bytes that took.

    Args:
        agent: of the host.
        base: the folder there.
        packages: wheels, each once.
        fetch: gives a package's file here.
        tell: hears how far it is.
        absent: hears when the way there is barred.

    Raises:
        EnvironmentUnavailable: a package cannot be had here, or arrives damaged again and again.
        RequestFailed: the host cannot take it, for instance because its disk is full.
    """
    total = 0
    for _ in range(_ATTEMPTS):
        wanted = [[item.sha256, item.size] for item in packages]
        answer, _ = agent.request("packages", base=base, wanted=wanted, say=absent)
        have = {str(sha): int(size) for sha, size in answer["missing"]}
        if not have:
            return total
        missing = [item for item in packages if item.sha256 in have]
        size = sum((item.size or 0) - have[item.sha256] for item in missing)
        tell(f"Sending {len(missing)} of {len(packages)} packages ({megabytes(max(size, 0))}).")
        progress = Progress(tell, len(missing), size)
        with ThreadPoolExecutor(_DOWNLOADS) as pool:
            files: dict[Future[Path], Locked] = {pool.submit(fetch, item): item for item in missing}
            try:
                for ready in as_completed(files):
                    sha = files[ready].sha256
                    total += _send(agent, base, sha, ready.result(), have[sha], progress, absent)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        agent.request("seal", base=base, packages=[item.sha256 for item in missing], say=absent)
    raise EnvironmentUnavailable(
        f"packages arrive damaged on {agent.name}, {_ATTEMPTS} times in a row",
        details={"folder": f"{base}/packages"},
        hint="See whether that file system is well.",
    )


def _send(agent: Agent, base: str, sha: str, path: Path, offset: int, progress: Progress, absent: Absent | None) -> int:
    """Send a file from an offset; return how many bytes that took."""
    size, total = path.stat().st_size, 0
    with path.open("rb") as file:
        # once even if all bytes are there, so that nothing stays open on the other side
        while True:
            file.seek(min(offset, size))
            at = file.tell()
            for number in range(_WINDOW):
                chunk = file.read(_CHUNK)
                last = at + len(chunk) >= size
                total += len(chunk)
                if last or number == _WINDOW - 1:
                    answer, _ = agent.request("piece", chunk, base=base, sha=sha, offset=at, last=last, say=absent)
                    break
                agent.notify("piece", chunk, base=base, sha=sha, offset=at, last=False)
                at += len(chunk)
            else:
                raise AssertionError
            progress.sent(max(int(answer["size"]) - offset, 0))
            offset = int(answer["size"])
            if offset >= size:
                progress.done()
                return total
