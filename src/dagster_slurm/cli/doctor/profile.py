"""What the doctor leaves behind: the settings as YAML, and as Python to paste. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dagster_slurm.cli.doctor.choice import Choice
from dagster_slurm.transport.ssh.settings import SSHSettings

_FIELDS = (
    "user port key_path jump_host force_tty post_login_command host_key_checking known_hosts_file "
    "config_file batch_mode max_logins connect_timeout"
).split()


def settings(ssh: SSHSettings | None, choice: Choice, base: str, remote_python: str) -> dict[str, Any]:
    """Return the fields of ``SlurmResource`` that differ from its defaults.

    Args:
        ssh: how the host was reached; None: Dagster runs on the login node.
        choice: what jobs ask for.
        base: the folder for runs.
        remote_python: Python there.
    """
    queue: dict[str, Any] = {"partition": choice.partition, "time_limit": choice.time_limit}
    queue.update({name: value for name, value in (("account", choice.account), ("qos", choice.qos)) if value})
    if choice.gpu_directive not in (None, "gres"):
        queue["gpu_directive"] = choice.gpu_directive
    found: dict[str, Any] = {} if ssh is None else {"ssh": _connection(ssh)}
    found.update(queue=queue, remote_base=base)
    return {**found, "remote_python": remote_python} if remote_python != "python3" else found


def _connection(ssh: SSHSettings) -> dict[str, Any]:
    """Return what is not left to ssh's own configuration; never a password."""
    plain = SSHSettings(host=ssh.host)
    given = {name: getattr(ssh, name) for name in _FIELDS if getattr(ssh, name) != getattr(plain, name)}
    more = {"extra_opts": list(ssh.extra_opts)} if ssh.extra_opts else {}
    return {"host": ssh.host, **given, **more}


def as_yaml(found: Mapping[str, Any], site: Mapping[str, str]) -> str:
    """Return the profile's text."""
    import yaml  # noqa: PLC0415 - other commands need not wait for it

    what = "# A cluster, as `dagster-slurm doctor` found it. Use it with SlurmResource.from_profile(<this file>),\n"
    how = "# or name it in DAGSTER_SLURM_PROFILE. `site` is for people: nothing reads it.\n"
    return what + how + yaml.safe_dump({"slurm": dict(found), "site": dict(site)}, sort_keys=False)


def as_python(found: Mapping[str, Any]) -> str:
    """Return a ``ComputeResource`` to paste."""
    ssh, queue = found.get("ssh"), found["queue"]
    lines = [f"ssh=SSHConnectionResource({_arguments(ssh)})"] if ssh else []
    lines.append(f"queue=SlurmQueueConfig({_arguments(queue)})")
    lines += [f"{name}={_literal(value)}" for name, value in found.items() if name not in ("ssh", "queue")]
    names = ["ComputeResource", "SlurmQueueConfig", "SlurmResource", *(["SSHConnectionResource"] if ssh else [])]
    inner = "".join(f"        {line},\n" for line in lines)
    return (
        f"from dagster_slurm import {', '.join(names)}\n\n"
        f'compute = ComputeResource(\n    mode="slurm",\n    slurm=SlurmResource(\n{inner}    ),\n)\n'
    )


def _arguments(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_literal(value)}" for name, value in values.items())


def _literal(value: object) -> str:
    """Return Python for a value, with the quotes that formatters like."""
    return repr(value) if isinstance(value, bool) else json.dumps(value, ensure_ascii=False)
