"""Words before every command: containers, and wrappers of other kinds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dagster_slurm.environments.environment import Activation, Present, Site
from dagster_slurm.errors import ConfigurationError

_COMMAND = "{command}"
#: words that stand for an option where the job asks for GPUs, and for nothing elsewhere
_WITH_GPUS = {"{nv}": "--nv", "{rocm}": "--rocm", "{gpu}": "--gpu"}
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, kw_only=True)
class Around:
    """What placeholders mean in a job.

    Args:
        run_dir: the run directory; the payload's working directory is ``work`` in it.
        base_dir: the folder with run directories and code.
        data_dir: the folder for results; empty: none was named.
        gpus: whether the job asks for GPUs.
    """

    run_dir: str
    base_dir: str
    data_dir: str = ""
    gpus: bool = False


@dataclass(frozen=True)
class CommandPrefix:
    """Runs every command of the payload behind other words, such as those that start a container.

    Args:
        words: with the placeholders ``{run_dir}``, ``{work_dir}``, ``{base_dir}``, ``{data_dir}`` (a word with it is
            left out where no ``data_base`` is named) and ``{nv}``, ``{rocm}``, ``{gpu}`` (options for jobs with GPUs,
            else left out). ``{command}`` stands for the command, as the last word; without it the command comes last as
            well.
        python: the Python for payloads in Python, as it is called behind the words.

    Raises:
        ConfigurationError: an unknown placeholder, or words after ``{command}``.
    """

    words: Sequence[str]
    python: str = "python3"

    def __post_init__(self) -> None:
        words = tuple(self.words)
        if _COMMAND in words[:-1]:
            raise ConfigurationError(f"{_COMMAND} is not the last word of the prefix {words!r}")
        object.__setattr__(self, "words", words[:-1] if words[-1:] == (_COMMAND,) else words)
        rendered(self.words, Around(run_dir="", base_dir=""))

    @classmethod
    def apptainer(
        cls, image: str, *, rocm: bool = False, options: Sequence[str] = (), python: str = "python3"
    ) -> CommandPrefix:
        """Return the prefix that runs commands in an Apptainer image, with the GPUs of the job.

        Args:
            image: its path on the cluster, or a URI.
            rocm: the GPUs are AMD's.
            options: further options of ``apptainer exec``.
            python: the Python in the image.
        """
        gpus = "{rocm}" if rocm else "{nv}"
        binds = ("--bind={base_dir}", "--bind={data_dir}")
        return cls(("apptainer", "exec", gpus, *binds, "--pwd={work_dir}", *options, image), python)

    @classmethod
    def podman_hpc(cls, image: str, *, options: Sequence[str] = (), python: str = "python3") -> CommandPrefix:
        """Return the prefix that runs commands in an image of podman-hpc, with the GPUs of the job.

        Args:
            image: its name.
            options: further options of ``podman-hpc run``.
            python: the Python in the image.
        """
        binds = ("--volume={base_dir}:{base_dir}", "--volume={data_dir}:{data_dir}", "--env-host")
        start = ("podman-hpc", "run", "--rm", "{gpu}", *binds, "--workdir={work_dir}")
        return cls((*start, *options, image), python)

    @classmethod
    def charliecloud(cls, image: str, *, options: Sequence[str] = (), python: str = "python3") -> CommandPrefix:
        """Return the prefix that runs commands in a Charliecloud image.

        Args:
            image: its folder on the cluster; mount points are made in it (``--write``).
            options: further options of ``ch-run``.
            python: the Python in the image.
        """
        binds = ("--write", "--bind={base_dir}", "--bind={data_dir}")
        return cls(("ch-run", *binds, "--cd={work_dir}", *options, image, "--"), python)

    def prepare(self, site: Site) -> Present:  # noqa: ARG002 - it is the same everywhere
        """Return it; whether the image is there shows in the job."""
        return Present(f"prefix {self.words} {self.python}", Activation(self.python, prefix=tuple(self.words)))


def rendered(words: Sequence[str], around: Around) -> tuple[str, ...]:
    """Return the words for a job.

    Raises:
        ConfigurationError: a placeholder is not known.
    """
    values = {
        "run_dir": around.run_dir,
        "work_dir": f"{around.run_dir}/work",
        "base_dir": around.base_dir,
        "data_dir": around.data_dir,
    }
    found: list[str] = []
    for word in words:
        if word in _WITH_GPUS:
            found += [_WITH_GPUS[word]] if around.gpus else []
        elif "{data_dir}" not in word or around.data_dir:
            found.append(_PLACEHOLDER.sub(lambda match: _value(match[1], values, words), word))
    return tuple(found)


def _value(name: str, values: dict[str, str], words: Sequence[str]) -> str:
    if name not in values:
        known = ", ".join(f"{{{known}}}" for known in (*values, "command"))
        raise ConfigurationError(
            f"the prefix {' '.join(words)!r} has an unknown placeholder {{{name}}}",
            hint=f"There are {known}, {', '.join(_WITH_GPUS)}.",
        )
    return values[name]
