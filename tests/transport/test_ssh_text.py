"""The pure parts: command lines, what ssh says, what it asks."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dagster_slurm.errors import (
    AgentUnavailable,
    CannotAuthenticate,
    CannotConnect,
    ConfigurationError,
    HostError,
    HostKeyUnknown,
    NoSession,
)
from dagster_slurm.transport import bootstrap
from dagster_slurm.transport.ssh import SSHSettings, SSHTransport, config, proxy
from dagster_slurm.transport.ssh.askpass import Reply, reply_to
from dagster_slurm.transport.ssh.explain import (
    Place,
    explain_client,
    explain_login,
    explain_question,
    says_connection_lost,
)

# -- settings


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"host": "-oProxyCommand=evil"}, "host is not usable"),
        ({"host": ""}, "host is not usable"),
        ({"host": "a b"}, "host is not usable"),
        ({"host": "a;rm"}, "host is not usable"),
        ({"host": "$(id)"}, "host is not usable"),
        ({"host": "a\n"}, "host is not usable"),
        ({"user": "-l"}, "user is not usable"),
        ({"user": "x`id`"}, "user is not usable"),
        ({"jump_host": "-W"}, "jump_host is not usable"),
        ({"jump_host": "a,-oProxyCommand=evil"}, "jump_host is not usable"),
        ({"jump_host": "a,"}, "jump_host is not usable"),
        ({"port": 0}, "port must be"),
        ({"port": 65536}, "port must be"),
        ({"max_logins": 0}, "at least 1"),
        ({"connect_timeout": 0}, "at least 1"),
        ({"extra_opts": ("host",)}, "starts with no dash"),
        ({"extra_opts": ("-v", "-J", "x")}, "may not contain -J"),
        ({"extra_opts": ("-S/tmp/x",)}, "may not contain -S"),
        ({"password": "a\nb"}, "line break"),
        ({"password": "x", "batch_mode": True}, "exclude each other"),
        ({"remote_python": "-c"}, "dash"),
        ({"remote_python": ""}, "remote_python is empty"),
        ({"key_path": "a\nb"}, "key_path"),
        ({"post_login_command": "a\nb"}, "post_login_command"),
    ],
)
def test_bad_settings(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        SSHSettings(**({"host": "h"} | values))


@pytest.mark.parametrize("host", ["login", "a.b-c.org", "user@h", "10.0.0.1", "::1", "fe80::1%eth0", "My_Alias", "a/b"])
def test_good_hosts(host: str) -> None:
    assert SSHSettings(host).host == host


def test_the_password_shows_nowhere() -> None:
    settings = SSHSettings("h", password="sesame")
    assert "sesame" not in repr(settings)
    assert SSHTransport(settings).key == SSHTransport(SSHSettings("h", password="other")).key
    assert "sesame" not in str(config.resolve_argv(settings))


def test_keys_tell_places_apart() -> None:
    values: list[dict[str, Any]] = [{}, {"user": "u"}, {"port": 2}, {"force_tty": True}, {"remote_python": "p"}]
    assert len({SSHTransport(SSHSettings("h", **entry)).key for entry in values}) == len(values)


# -- command lines

SHELLS = [shell for shell in ("sh", "bash", "dash", "zsh", "csh", "fish") if shutil.which(shell)]

RESOLVED = """user bob
hostname login.hpc.org
port 2222
forwardagent yes
serveraliveinterval 0
sendenv LANG
sendenv LC_*
setenv A=say "hi"
controlpath /home/me/.ssh/cm-%x
userknownhostsfile /home/me/.ssh/known_hosts /home/me/.ssh/known_hosts2
proxyjump al@gate:22
"""


def test_what_ssh_resolves() -> None:
    resolved = config.parse_resolved(RESOLVED)
    assert (resolved.user, resolved.hostname, resolved.port) == ("bob", "login.hpc.org", 2222)
    assert resolved.control_path == "/home/me/.ssh/cm-%x"
    assert resolved.known_hosts == "/home/me/.ssh/known_hosts"
    assert resolved.jump_host == "al@gate:22"
    assert resolved.session_options == ("ForwardAgent=yes", "SendEnv=LANG", "SendEnv=LC_*", r'SetEnv="A=say \"hi\""')
    assert re.fullmatch("[0-9a-f]{16}", resolved.identity)


@pytest.mark.parametrize(
    ("more", "same"),
    [
        ("identityfile ~/.ssh/other\n", True),
        ("hostkeyalias other\n", False),
        ("proxycommand nc %h %p\n", False),
    ],
)
def test_one_connection_for_each_way_to_an_account(more: str, same: bool) -> None:
    one, other = config.parse_resolved(RESOLVED), config.parse_resolved(RESOLVED + more)
    assert (one.identity == other.identity) is same
    assert one.digest != other.digest


def test_no_shared_connection_of_the_users() -> None:
    assert config.parse_resolved("user a\nhostname h\nport 22\ncontrolpath none\n").control_path is None


def test_clients_cannot_log_in() -> None:
    argv = config.client_argv(SSHSettings("h"), config.parse_resolved(RESOLVED), "/run/50%/x")
    for option in ("ControlMaster=no", "ProxyCommand=false", "BatchMode=yes"):
        assert argv[argv.index(option) - 1] == "-o"
    assert argv[:5] == ["ssh", "-F", "/dev/null", "-S", "/run/50%%/x"]
    assert argv[-3:-1] == ["--", "h"]


def test_the_users_options_come_after_ours() -> None:
    settings = SSHSettings("h", extra_opts=("-o", "BatchMode=no", "-o", "ServerAliveInterval=3"))
    argv = config.master_argv(settings, config.parse_resolved("user a\nhostname h\nport 22\n"), "/x", "/w")
    assert argv.index("BatchMode=yes") < argv.index("BatchMode=no")
    assert argv.index("ServerAliveInterval=3") < argv.index("ServerAliveInterval=15")
    assert "ControlPersist=60" in argv


def test_hops_are_nested_and_survive_each_expansion() -> None:
    settings = SSHSettings("h", key_path="/my keys/100%", connect_timeout=7)
    command = proxy.proxy_command(settings, "al@[::1]:2200,gate", None, "/w 1", human=False)
    assert command is not None
    assert command.startswith("2>>'/w 1'; exec ssh -o ConnectTimeout=7 ")
    assert command.endswith("-W '[%h]:%p' -- gate")
    outer = _words(command.replace("%%", "\0").replace("%h", "H").replace("%p", "P").replace("\0", "%"))
    assert "BatchMode=yes" in outer
    assert 'IdentityFile="/my keys/100%%"' in outer  # once more by the ssh that reads it
    (inner,) = [word.removeprefix("ProxyCommand=") for word in outer if word.startswith("ProxyCommand=")]
    assert inner.endswith("-l al -p 2200 -W '[%h]:%p' -- ::1")


def _words(command: str) -> list[str]:
    """What a shell makes of the command that follows the redirection."""
    code = command.removeprefix("2>>'/w 1'; ").removeprefix("exec ")
    printed = subprocess.run(["sh", "-c", f"printf '%s\\n' {code}"], capture_output=True, text=True, check=True).stdout
    return printed.splitlines()


def test_a_straight_way_needs_no_proxy() -> None:
    assert proxy.proxy_command(SSHSettings("h"), None, None, "/w", human=False) is None
    assert proxy.proxy_command(SSHSettings("h"), None, "nc %h %p", "/w", human=False) == "2>>/w; exec nc %h %p"


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("python", "before"),
    [
        ("python3", None),
        ("~/my 'own'/py", None),
        ("python3", "cd / ;"),
        ("python3", "sh -c {cmd}"),
        ("~/my 'own'/py", "sh -c {cmd}"),
    ],
)
def test_every_shell_starts_the_bootstrap(shell: str, python: str, before: str | None, tmp_path: Path) -> None:
    (tmp_path / "my 'own'").mkdir()
    (tmp_path / "my 'own'/py").symlink_to(Path(sys.executable).resolve())
    command = config.remote_command(SSHSettings("h", remote_python=python, post_login_command=before))
    done = subprocess.run(
        [shell, "-c", command],
        env={"HOME": str(tmp_path), "PATH": "/usr/local/bin:/usr/bin:/bin"},
        input=bootstrap.program([("m", "import os\ndef main(options, tty): os.write(1, b'ran')")], {}),
        capture_output=True,
        check=False,
    )
    assert done.stdout == bootstrap.SENTINEL + b"\nran"


# -- what ssh says

PLACE = Place("hpc", "bob@hpc", "login.hpc.org", 2222, known_hosts="/kh")
CHANGED = """@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
Add correct host key in /home/me/.ssh/known_hosts to get rid of this message.
Offending ED25519 key in /home/me/.ssh/known_hosts:3
Host key for [login.hpc.org]:2222 has changed and you have requested strict checking.
Host key verification failed."""
CLOSED = "kex_exchange_identification: Connection closed by remote host\nConnection closed by 10.0.0.1 port 22"


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("bob@h: Permission denied (publickey).", CannotAuthenticate, "bob@h refuses the login"),
        ("bob@h: Permission denied (publickey,gssapi-with-mic).", CannotAuthenticate, "`dagster-slurm login hpc`"),
        ("Permission denied, please try again.", CannotAuthenticate, "bob@hpc refuses"),
        (
            "Received disconnect from 10.0.0.1 port 22:2: Too many authentication failures",
            CannotAuthenticate,
            "ssh-add -l",
        ),
        ("WARNING: Your password has expired.\nPermission denied", CannotAuthenticate, "Your password has expired"),
        ('Load key "/k": invalid format\nb@h: Permission denied (publickey).', CannotAuthenticate, "key is not usable"),
        ("@ WARNING: UNPROTECTED PRIVATE KEY FILE! @\nb@h: Permission denied", CannotAuthenticate, "key is not usable"),
        (
            "No ED25519 host key is known for h and you have requested strict checking.\nHost key verification failed.",
            HostKeyUnknown,
            "`ssh-keyscan h >> /kh`",
        ),
        ("Host key verification failed.", HostKeyUnknown, "The key of [login.hpc.org]:2222 is not"),
        (CHANGED, HostKeyUnknown, "`ssh-keygen -R '[login.hpc.org]:2222' -f /home/me/.ssh/known_hosts`"),
        ("ssh: Could not resolve hostname gate: Name or service not known", CannotConnect, "There is no host 'gate'"),
        (
            "ssh: Could not resolve hostname x: nodename nor servname provided, or not known",
            CannotConnect,
            "no host 'x'",
        ),
        ("ssh: connect to host gate port 22: Connection refused", CannotConnect, "gate does not answer at port 22"),
        ("ssh: connect to host h port 22: Operation timed out", CannotConnect, "h does not answer at port 22"),
        ("Connection timed out during banner exchange", CannotConnect, "login.hpc.org does not answer at port 2222"),
        ("channel 0: open failed: connect failed: No route to host\nstdio forwarding failed", CannotConnect, "2222"),
        (CLOSED, CannotConnect, "MaxStartups"),
        ("Connection reset by 10.0.0.1 port 22", CannotConnect, "closed the connection before the login"),
        ("Unable to negotiate with h: no matching host key type found. Their offer: ssh-rsa", CannotConnect, "method"),
        ("something new", CannotConnect, "could not be opened"),
        ("", CannotConnect, "could not be opened"),
    ],
)
def test_why_a_login_fails(text: str, kind: type[HostError], said: str) -> None:
    error = explain_login(PLACE, 255, text)
    assert type(error) is kind
    assert said in str(error)
    assert error.log_tail == text


@pytest.mark.parametrize(("reason", "passing"), [("Name or service not known", False), ("Temporary failure in", True)])
def test_waiting_does_not_help_a_wrong_name(reason: str, passing: bool) -> None:
    error = explain_login(PLACE, 255, f"ssh: Could not resolve hostname x: {reason}")
    assert isinstance(error, CannotConnect)
    assert error.passing is passing


NO_SESSION = "mux_client_request_session: session request failed: Session open refused by peer\n"
FALLBACK = "kex_exchange_identification: Connection closed by remote host\nConnection closed by UNKNOWN port 65535\n"


@pytest.mark.parametrize(
    ("code", "text", "kind", "said"),
    [
        (255, NO_SESSION + FALLBACK, NoSession, "no further session"),
        (255, "Control socket connect(/x): Connection refused\n" + FALLBACK, CannotConnect, "ended"),
        (255, "", CannotConnect, "The connection to bob@hpc ended"),
        (-9, "", CannotConnect, "ended"),
        # What start-up files say is not what ssh says.
        (255, "mkdir: cannot create '/x': Permission denied\n", CannotConnect, "ended"),
        (127, "bash: line 1: exec: python3: not found", AgentUnavailable, "python3 does not start"),
        (1, "python3: Command not found.", AgentUnavailable, "python3 does not start"),
        (126, "bash: /usr/bin/python3: Permission denied", AgentUnavailable, "python3 does not start"),
        (1, "This account is currently not available.", AgentUnavailable, "The agent on bob@hpc ended"),
        (1, "FileNotFoundError: No such file or directory: 'x'", AgentUnavailable, "The agent on bob@hpc ended"),
        (0, "", AgentUnavailable, "The agent on bob@hpc ended"),
    ],
)
def test_why_a_program_ends(code: int, text: str, kind: type[HostError], said: str) -> None:
    error = explain_client(PLACE, code, text)
    assert type(error) is kind
    assert said in str(error)
    assert "kex_exchange" not in str(error)


@pytest.mark.parametrize(
    ("code", "text", "lost"),
    [
        (255, FALLBACK, True),
        (255, "Control socket connect(/x): Connection refused\n" + FALLBACK, True),
        (255, "mux_client_hello_exchange: write packet: Broken pipe\n" + FALLBACK, True),
        (255, NO_SESSION + FALLBACK, False),
        (255, "bob@inner: Permission denied (publickey).\n", False),  # said by a post_login_command: not once more
        (127, "", False),
        (-9, "", False),
    ],
)
def test_when_a_client_starts_once_more(code: int, text: str, lost: bool) -> None:
    assert says_connection_lost(explain_client(PLACE, code, text)) is lost


# -- what ssh asks


@pytest.mark.parametrize(
    ("question", "reply"),
    [
        ("bob@login.hpc.org's password: ", Reply.PASSWORD),
        ("bob@alias's password: ", Reply.PASSWORD),
        ("bob@gate's password: ", Reply.HUMAN),
        ("eve@login.hpc.org's password: ", Reply.HUMAN),
        ("(bob@login.hpc.org) Password: ", Reply.PASSWORD),
        ("(bob@login.hpc.org) LDAP Password for bob: ", Reply.PASSWORD),
        ("(bob@gate) Password: ", Reply.HUMAN),
        ("Password: ", Reply.PASSWORD),
        ("Passwort: ", Reply.PASSWORD),
        ("(bob@login.hpc.org) One-time password (OATH) for `bob': ", Reply.HUMAN),
        ("(bob@login.hpc.org) Verification code: ", Reply.HUMAN),
        ("(bob@login.hpc.org) Password + token: ", Reply.HUMAN),
        ("(bob@login.hpc.org) Password & verification code: ", Reply.HUMAN),
        ("Enter PASSCODE: ", Reply.HUMAN),
        ("Duo two-factor login for bob\n\nPasscode or option (1-3): ", Reply.HUMAN),
        ("(bob@login.hpc.org) New password: ", Reply.HUMAN),
        ("(bob@login.hpc.org) You are required to change your password. Current password: ", Reply.HUMAN),
        ("Are you sure you want to continue connecting (yes/no/[fingerprint])? ", Reply.HUMAN),
        ("Enter passphrase for key '/home/password/id': ", Reply.NONE),
        ("Enter PIN for ED25519-SK key /k: ", Reply.NONE),
        ("Confirm user presence for key ED25519-SK", Reply.NONE),
    ],
)
def test_who_answers(question: str, reply: Reply) -> None:
    names = ("login.hpc.org", "alias")
    assert reply_to(question, "bob", names, given=False) is reply
    again = Reply.REFUSED if reply is Reply.PASSWORD else reply
    assert reply_to(question, "bob", names, given=True) is again


def test_a_hosts_name_does_not_make_a_code_of_a_password() -> None:
    assert reply_to("otp@token.code's password: ", "otp", ("token.code",), given=False) is Reply.PASSWORD


def test_the_question_is_told() -> None:
    assert "'Verification code:'" in str(explain_question(PLACE, "Verification code: "))
    error = explain_question(PLACE, "The authenticity of host '[gate]:22 (10.0.0.1)' can't be established.")
    assert isinstance(error, HostKeyUnknown)
    assert "[gate]:22" in error.message
