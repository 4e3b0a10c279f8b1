"""The agent over the system's OpenSSH: one login per account and host, shared by all processes of this user."""

from dagster_slurm.transport.ssh.counting import Counts, counts
from dagster_slurm.transport.ssh.login import login, logout, settings_for
from dagster_slurm.transport.ssh.settings import SSHSettings
from dagster_slurm.transport.ssh.transport import SSHTransport

__all__ = ["Counts", "SSHSettings", "SSHTransport", "counts", "login", "logout", "settings_for"]
