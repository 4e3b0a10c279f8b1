"""Slurm as text: the commands, and what their answers mean. Formats are explicit, output is text: see FORMATS.

22.05's JSON reports success for a job that exited 4, so text it is: ``-o`` and ``-P`` are stable from 22.05 to 26.05.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from dagster_slurm.core.observations import Row
from dagster_slurm.core.partitions import SINFO
from dagster_slurm.core.states import JobState, from_word
from dagster_slurm.errors import DagsterSlurmError, HeterogeneousJobRefused, SubmissionDelayed, SubmissionRefused
from dagster_slurm.schedulers import step
from dagster_slurm.schedulers.scheduler import SubmitAnswer
from dagster_slurm.schedulers.usage import USAGE_FIELDS, used

#: squeue(1): id, state, expected start, nodes, reason, name. What may hold a bar itself comes last.
_QUEUE_FORMAT = "%i|%T|%S|%N|%r|%j"
#: sacct(1). MaxRSS and the like stand on the steps alone, so steps are asked for too.
_ACCOUNT_FIELDS = (
    "JobID",
    "State",
    "ExitCode",
    "DerivedExitCode",
    "ElapsedRaw",
    "TotalCPU",
    "MaxRSS",
    "ReqMem",
    "AllocCPUS",
    "AllocTRES",
    "NNodes",
    "NodeList",
    "Partition",
    "Submit",
    "Start",
    "End",
    *USAGE_FIELDS,
)
_OUT_OF_MEMORY_CODE = "0:125"
#: a name is looked up in accounting from this long ago; without a start sacct looks at today only
_SINCE = "now-30days"

#: "not now". Of what violates a policy, only the number of submitted jobs passes by itself; the line after the limit's
#: name speaks of a "job submit limit" whatever it was.
_LATER = re.compile(
    r"(Assoc|QOS)\w*SubmitJob\w*Limit|MaxJobCount|queue is full"
    r"|Unable to contact slurm controller|Socket timed out|Connection refused|temporarily unable|Resource temporarily"
    r"|Slurm backup controller in standby|slurmctld is not responding|Zero Bytes were transmitted|Transport endpoint"
    r"|gave no answer",
    re.IGNORECASE,
)
#: what Slurm says of a heterogeneous job where its scheduler knows none (ESLURM_NOT_SUPPORTED: recorded on 22.05 and
#: 24.11), and sentences of sites' own filters that deny such jobs as a whole, not one of them for what it asks
_HETJOBS = r"het(?:erogeneous)?[ _-]?jobs?"
_NOT_TOGETHER = re.compile(
    r"operation not supported on this system"
    rf"|\b{_HETJOBS}\b(?: [\w-]+){{0,4}}? (?:not (?:be )?(?:allowed|supported|permitted|enabled|available|accepted)"
    r"|disabled|forbidden|prohibited|disallowed|rejected|unsupported|denied|refused)\b"
    r"|\b(?:not (?:allow|support|accept|permit|take|run)|no(?: support for)?|disallows?|forbids?|rejects?|refuses?)"
    rf" (?:\w+ ){{0,2}}{_HETJOBS}\b",
    re.IGNORECASE,
)
_HINTS = (
    (
        r"(fetch|establish|resolve)_(config|ctls)|slurm\.conf|DNS SRV",
        "Slurm is not set up on this machine. Without ssh= (SLURM_EDGE_NODE_HOST) jobs are submitted where Dagster "
        "runs: name the login node.",
    ),
    (r"(QOS|Assoc)\w+Limit", "Ask for less: `sacctmgr show qos` and `sacctmgr show assoc user=$USER` list the limits."),
    (r"unrecognized option", "This cluster's sbatch does not know the option: leave it out."),
    (r"invalid --time", 'Write the time as minutes or as "1-12:30:00".'),
    (r"invalid --mem", 'Write memory as "4000M" or "4G".'),
    (r"more processors|cpu count", "Ask for fewer CPUs or nodes: compare with `sinfo -o '%P %D %c'`."),
    (r"dependency", "Name a job that `squeue` or `sacct` knows: options={'dependency': 'afterok:123'}."),
    (r"invalid partition", "Name a partition that `sinfo` lists: SlurmQueueConfig(partition=...)."),
    (r"invalid account|account/partition combination", "Name an account that `sacctmgr show assoc user=$USER` lists."),
    (r"invalid qos", "Name a QOS that `sacctmgr show assoc user=$USER format=qos` lists."),
    (r"node configuration is not available", "No node has that much: compare with `sinfo -o '%P %c %m %G %l'`."),
    (r"time limit", "Ask for less time than the partition's limit (`sinfo -o '%P %l'`)."),
    (r"memory specification|memory", "Ask for memory that the partition's nodes have (`sinfo -o '%P %m'`)."),
    (r"invalid (generic resource|gres|trespec|tres)", "Ask for GPUs as the site names them (`sinfo -o '%P %G'`)."),
    (r"reservation", "Name a reservation that `scontrol show reservation` lists and that is yours to use."),
    (r"feature", "Name a feature that `sinfo -o '%P %f'` lists."),
    (r"node (name|list)|invalid host", "Name nodes that `sinfo -N` lists."),
)


_SQUEUE = ("squeue", "-h", "-r", "--me", "--states=all")
_SACCT = ("sacct", "-n", "-P", "-S", _SINCE)


class Slurm:
    """Renders Slurm's commands and parses their answers, for the cluster that the host calls its own."""

    kind = "slurm"
    asks = True
    # "Requested node configuration is not available" leaves these in queue and accounting (22.05)
    no_job: tuple[tuple[str, str], ...] = (("FAILED", "BadConstraints"), ("FAILED", "None assigned"))
    queue: tuple[str, ...] = (*_SQUEUE, "-o", _QUEUE_FORMAT)
    accounting: tuple[str, ...] = (*_SACCT, "-j", "{ids}", "-o", ",".join(_ACCOUNT_FIELDS))
    partitions: tuple[str, ...] = SINFO

    def submit(self) -> list[str]:
        """Return the command that submits ``job.sh``; everything else stands in the script."""
        return ["sbatch", "--parsable", "job.sh"]

    def find(self, name: str) -> list[list[str]]:
        """Return the look-ups by name, in queue and accounting."""
        return [
            [*_SQUEUE, f"--name={name}", "-o", "%i|%T|%r"],
            [*_SACCT, "-X", f"--name={name}", "-o", "JobIDRaw,State,NodeList"],
        ]

    def queue_row(self, lines: Sequence[str], job: str) -> Row | None:
        """Return the queue's line of a job, or of the allocation around a step."""
        if step.is_step(job):
            return step.queue_row(self.queue_row(lines, step.allocation(job)), job)
        for line in lines:
            fields = line.split("|", 5)
            if len(fields) < 5 or not _is(fields[0].strip(), job):
                continue
            _, word, expected, nodes, reason = fields[:5]
            state = from_word(word)
            known = expected if expected not in ("N/A", "Unknown", "None") and state is JobState.PENDING else ""
            facts = (("NodeList", nodes),) if nodes else ()
            return Row(job, state, word.strip(), _reason(reason), known, facts=facts)
        return None

    def account_row(self, lines: Sequence[str], job: str) -> Row | None:
        """Return accounting's lines of a job and its steps as one; of a step, its own."""
        rows: list[dict[str, str]] = [dict(zip(_ACCOUNT_FIELDS, line.split("|"), strict=False)) for line in lines]
        if step.is_step(job):
            around = self.account_row(lines, step.allocation(job))
            own = next((row for row in reversed(rows) if row["JobID"] == job), None)
            code = _exit_code(own.get("ExitCode", "") if own else "")
            return None if around is None else step.account_row(around, own, job, code)
        whole = next((row for row in reversed(rows) if _is(row["JobID"], job)), None)
        if whole is None or "State" not in whole:
            return None
        steps = [row for row in rows if row["JobID"].startswith(f"{whole['JobID']}.")]
        code, signal = _exit_code(whole.get("ExitCode", ""))
        out_of_memory = any(
            _OUT_OF_MEMORY_CODE in (row.get("ExitCode"), row.get("DerivedExitCode"))
            or row.get("State", "").startswith("OUT_OF_MEMORY")
            for row in (whole, *steps)
        )
        peak = max((_kibibytes(step.get("MaxRSS", "")) for step in steps), default=0)
        facts = {**whole, **used(whole, steps), **({"PeakKiB": str(peak)} if peak else {})}
        words = whole["State"].split()
        return Row(
            job,
            from_word(whole["State"]),
            words[0] if words else "",
            exit_code=code,
            signal=signal,
            out_of_memory=out_of_memory,
            user=words[2] if words[1:2] == ["by"] and len(words) > 2 else "",
            facts=tuple(sorted(facts.items())),
        )

    def refusal(self, answer: SubmitAnswer) -> DagsterSlurmError:
        """Return the error for sbatch's words: refused, or not now."""
        text = "; ".join(
            line.removeprefix("sbatch: ").removeprefix("error: ").strip()
            for line in answer.text.splitlines()
            if line.strip()
        )
        if answer.code is None or _LATER.search(answer.text):
            hint = "Nothing: the submission is repeated until Slurm takes it."
            return SubmissionDelayed(
                f"Slurm does not take the job now: {text}",
                hint=hint,
                command=answer.command,
                exit_code=answer.code,
                details=answer.details,
            )
        if answer.components > 1 and _NOT_TOGETHER.search(answer.text):
            return HeterogeneousJobRefused(
                f"this cluster takes no heterogeneous jobs: {text}",
                hint="Give each component an asset of its own that calls compute.run; with "
                'mode="slurm-session" they share one allocation.',
                command=answer.command,
                exit_code=answer.code,
                details=answer.details,
            )
        hint = next((hint for words, hint in _HINTS if re.search(words, answer.text, re.IGNORECASE)), None)
        return SubmissionRefused(
            f"Slurm refused the job: {text}",
            hint=hint or "See sbatch(1).",
            command=answer.command,
            exit_code=answer.code,
            details=answer.details,
        )


def _is(found: str, job: str) -> bool:
    """Whether a line is the job's; a heterogeneous job as a whole is known by its first component."""
    return found in (job, f"{job}+0")


def _reason(text: str) -> str:
    """22.05 and 24.11 put other brackets around a reason; ``None`` is none."""
    plain = text.strip().strip("()")
    return "" if plain in ("None", "") else plain


def _exit_code(text: str) -> tuple[int | None, int | None]:
    code, _, signal = text.partition(":")
    return (int(code), int(signal)) if code.isdigit() and signal.isdigit() else (None, None)


def _kibibytes(text: str) -> int:
    """Return sacct's amounts of memory (``3012K``, ``1.5G``) in KiB."""
    match = re.match(r"([\d.]+)([KMGT]?)$", text.strip())
    scale = {"": 1 / 1024, "K": 1, "M": 1024, "G": 1024**2, "T": 1024**3}
    return int(float(match.group(1)) * scale[match.group(2)]) if match else 0


class Step(Slurm):
    """Steps of an allocation: started by the session's agent, asked about as jobs are."""

    kind = "step"

    def submit(self) -> list[str]:
        """Nothing to render: the session's agent starts ``job.sh``."""
        return []

    def find(self, name: str) -> list[list[str]]:  # noqa: ARG002 - the same question to every scheduler
        """A step is not looked up by its name: what was asked of a session may be asked again."""
        return []
