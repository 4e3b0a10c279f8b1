"""Which settings of a connection come from which variables. Without Dagster: the command line reads them too."""

from __future__ import annotations

from typing import Any

from dagster_slurm.resources.environment import Variables


def from_variables(prefix: str) -> dict[str, Any]:
    """Return the settings that are set, but for the password.

    Raises:
        ConfigurationError: no host is set, or a value cannot be understood.
    """
    variables = Variables(prefix)
    given: dict[str, Any] = {
        "host": variables.required("HOST"),
        "port": variables.number("PORT"),
        "user": variables.text("USER"),
        "key_path": variables.text("KEY_PATH", "KEY"),
        "jump_host": variables.text("JUMP_HOST"),
        "force_tty": variables.flag("FORCE_TTY"),
        "post_login_command": variables.text("POST_LOGIN_COMMAND"),
        "extra_opts": variables.words("EXTRA_OPTS"),
        "host_key_checking": variables.flag("HOST_KEY_CHECKING"),
        "known_hosts_file": variables.text("KNOWN_HOSTS_FILE"),
        "config_file": variables.text("CONFIG_FILE"),
        "batch_mode": variables.flag("BATCH_MODE"),
        "max_logins": variables.number("MAX_LOGINS"),
        "connect_timeout": variables.number("CONNECT_TIMEOUT"),
    }
    return {name: value for name, value in given.items() if value is not None}
