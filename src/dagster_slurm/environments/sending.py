"""Sends packages to the host: only what is missing there, continued where it was broken off."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dagster_slurm.environments.environment import Absent, Agent, Tell
from dagster_slurm.environments.lock_file import Locked
from dagster_slurm.environments.progress import Progress, megabytes
from dagster_slurm.errors import EnvironmentUnavailable

_CHUNK = 256 * 1024
#: pieces that are on their way at once: 4 MB, for the sake of slow answers and of others who use the channel
_WINDOW = 16
_DOWNLOADS = 6
_ATTEMPTS = 3


@dataclass(frozen=True)
class Sender:
    """Sends to one folder of one host.

    Args:
        agent: of the host.
        base: the folder there.
        tell: hears how far it is.
        absent: hears when the way there is barred.
    """

    agent: Agent
    base: str
    tell: Tell
    absent: Absent | None = None

    def send_missing(self, packages: list[Locked], fetch: Callable[[Locked], Path]) -> int:
        """Make sure that packages are on the host; return how many bytes that took.

        Args:
            packages: wheels, each once.
            fetch: gives a package's file here.

        Raises:
            EnvironmentUnavailable: a package cannot be had here, or arrives damaged again and again.
            RequestFailed: the host cannot take it, for instance because its disk is full.
        """
        total = 0
        for _ in range(_ATTEMPTS):
            wanted = [[item.sha256, item.size] for item in packages]
            answer, _ = self.agent.request("packages", base=self.base, wanted=wanted, say=self.absent)
            have = {str(sha): int(size) for sha, size in answer["missing"]}
            if not have:
                return total
            missing = [item for item in packages if item.sha256 in have]
            total += self._send(missing, have, fetch, of=len(packages))
            shas = [item.sha256 for item in missing]
            self.agent.request("seal", base=self.base, packages=shas, say=self.absent)
        raise EnvironmentUnavailable(
            f"packages arrive damaged on {self.agent.name}, {_ATTEMPTS} times in a row",
            details={"folder": f"{self.base}/packages"},
            hint="See whether that file system is well.",
        )

    def _send(self, missing: list[Locked], have: dict[str, int], fetch: Callable[[Locked], Path], *, of: int) -> int:
        """Fetch and send side by side; return how many bytes were sent."""
        size = max(sum((item.size or 0) - have[item.sha256] for item in missing), 0)
        self.tell(f"Sending {len(missing)} of {of} packages ({megabytes(size)}).")
        total = 0
        with Progress(self.tell, len(missing), size) as progress, ThreadPoolExecutor(_DOWNLOADS) as pool:
            files: dict[Future[Path], str] = {pool.submit(fetch, item): item.sha256 for item in missing}
            try:
                for ready in as_completed(files):
                    sha = files[ready]
                    total += self._send_file(sha, ready.result(), have[sha], progress)
            except BaseException:  # also an interrupt: nobody waits for the rest
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return total

    def _send_file(self, sha: str, path: Path, offset: int, progress: Progress) -> int:
        """Send a file from an offset; return how many bytes that took."""
        size, total = path.stat().st_size, 0
        with path.open("rb") as file:
            window = _WINDOW
            while True:
                begun = min(offset, size)
                file.seek(begun)
                count, offset = self._send_window(sha, file, size, window)
                total += count
                progress.sent(max(offset - begun, 0))
                # once even if all bytes are there, so that nothing stays open on the other side
                if offset >= size:
                    break
                # pieces without an answer do not tell why they were not taken: a full disk
                window = _WINDOW if offset > begun else 1
        progress.done()
        return total

    def _send_window(self, sha: str, file: BinaryIO, size: int, window: int) -> tuple[int, int]:
        """Send some pieces, of which the last is answered; return their bytes, and where to go on."""
        sent = 0
        for number in range(1, window + 1):
            at, chunk = file.tell(), file.read(_CHUNK)
            last = at + len(chunk) >= size
            sent += len(chunk)
            if last or number == window:
                head = {"base": self.base, "sha": sha, "offset": at, "last": last}
                answer, _ = self.agent.request("piece", chunk, say=self.absent, **head)
                return sent, int(answer["size"])
            self.agent.notify("piece", chunk, base=self.base, sha=sha, offset=at, last=False)
        raise AssertionError
