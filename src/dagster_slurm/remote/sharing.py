"""Who may use what lies below a folder with environments: those for whom that folder itself is open.

A folder that others may read gives environments that they may use; one that its group may write to gives environments
that all of the group build, use and repair together. Whoever may write there can put anything into them, so what
everybody may write to is shared with nobody.
"""

import contextlib
import errno
import os
import pwd
import stat
import tempfile

from . import rundir
from .refused import Refused

_GROUP, _GROUP_WRITES, _OTHERS_WRITE = 0o070, 0o020, 0o002
#: the folders that all accounts use which share one
_COMMON = ("built", "packages", "tools", "wheels")


def bits(base: str) -> int:
    """Return what group and others may do in ``base``, as bits of a folder's mode; 0: nothing, it is private."""
    mode = os.stat(base).st_mode
    return 0 if mode & _OTHERS_WRITE else mode & 0o075


def is_common(base: str) -> bool:
    """Whether several accounts may build in it."""
    return bool(bits(base) & _GROUP_WRITES)


def can_be_trusted(base: str) -> bool:
    """Whether nobody but the folder's owner and group can have put there what lies in it."""
    try:
        return not os.stat(base).st_mode & _OTHERS_WRITE or os.stat(os.path.join(base, "built")).st_uid == os.getuid()
    except OSError:
        return True  # nothing is there


def check(base: str, to_write: bool) -> None:
    """Make a folder with environments, or refuse one that this account cannot use.

    Raises:
        Refused: which folder, whose it is, and what its owner or we can do.
    """
    try:
        rundir.make_private(base)
    except OSError as error:
        raise Refused("storage", error.strerror or str(error), errno=error.errno, path=base)  # noqa: B904
    asked = os.R_OK | os.X_OK | (os.W_OK if to_write else 0)
    if not can_be_trusted(base):
        text = "everybody may write there, and its environments are those of %s" % owner(os.path.join(base, "built"))
        _refuse(base, text, "Set env_base to a folder that is yours or your group's alone.")
    for path in (base, *(os.path.join(base, name) for name in _COMMON)):
        if os.path.exists(path) and not os.access(path, asked):
            _refuse_foreign(base, path, to_write)


def _refuse_foreign(base: str, path: str, to_write: bool) -> None:
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        raise Refused("storage", os.strerror(errno.EROFS), errno=errno.EROFS, path=path)
    whose = os.stat(path).st_uid
    if whose == os.getuid():
        raise Refused("storage", "not writable", errno=errno.EACCES, path=path)
    verb = "write to it" if to_write and os.access(path, os.R_OK | os.X_OK) else "enter it"
    text = "it belongs to %s, and %s may not %s (%s)" % (owner(path), _name(os.getuid()), verb, _mode(path))
    text += ", where the environment is not built yet" if verb == "write to it" else ""
    hint = (
        "Let %s open it: chgrp -R GROUP %s; chmod -R g+rwX %s; chmod g+s %s. Or set env_base to a folder of your own."
        % (owner(path), base, base, base)
    )
    if verb == "write to it":
        first = "Let %s build it, by a run or by `dagster-slurm env push`: then it serves you as well. Or: "
        hint = first % owner(path) + hint
    _refuse(path, text, hint)


def _refuse(path: str, text: str, hint: str) -> None:
    raise Refused("storage", text, errno=errno.EACCES, path=path, hint=hint)


def make_folder(base: str, path: str) -> None:
    """Make a folder below ``base`` and those above it that are missing, as open as ``base``."""
    open_to = bits(base)
    if not open_to:
        rundir.make_private(path)
        return
    if os.path.isdir(path):
        return
    make_folder(base, os.path.dirname(path))
    # under another name first: nobody meets one that is closed yet
    temporary = tempfile.mkdtemp(prefix=".folder.", dir=os.path.dirname(path))
    try:
        _give(temporary, base, 0o700 | open_to | (stat.S_ISGID if open_to & _GROUP_WRITES else 0))
        os.rename(temporary, path)
    except OSError:
        os.rmdir(temporary)
        if not os.path.isdir(path):
            raise


def open_file(base: str, path: str) -> None:
    """Let those read a file, run it if we may, and write to it, who may do so in ``base``."""
    open_to = bits(base)
    if open_to:
        with contextlib.suppress(OSError):  # somebody else's, who opened it himself
            runs = os.stat(path).st_mode & stat.S_IXUSR
            _give(path, base, 0o600 | (0o100 if runs else 0) | open_to & (0o077 if runs else 0o066))


def create_file(base: str, path: str) -> None:
    """Make an empty file below ``base``, if there is none, as open as ``base``."""
    if not bits(base):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
        return
    if os.path.exists(path):
        return
    descriptor, temporary = tempfile.mkstemp(prefix=".new.", dir=os.path.dirname(path))
    os.close(descriptor)
    try:
        open_file(base, temporary)
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        os.unlink(temporary)


def open_tree(base: str, path: str) -> None:
    """Let those read an environment who may read in ``base``; nobody else writes to it."""
    open_to = bits(base) & 0o055
    if not open_to:
        return
    for place, _, files in os.walk(path):
        _open(place, base, open_to)
        for name in files:
            _open(os.path.join(place, name), base, open_to)


def _open(path: str, base: str, open_to: int) -> None:
    with contextlib.suppress(OSError):  # a link to a package that somebody else sent
        status = os.lstat(path)
        if not stat.S_ISLNK(status.st_mode):
            mode = stat.S_IMODE(status.st_mode) & ~0o022
            _give(path, base, mode | open_to & (0o055 if mode & 0o100 else 0o044))


def _give(path: str, base: str, mode: int) -> None:
    """Set a mode whose bits for the group mean the group of ``base``."""
    group = os.stat(base).st_gid
    if mode & _GROUP and os.stat(path).st_gid != group:
        try:
            os.chown(path, -1, group)
        except OSError:  # not a group of ours: then it is not meant for the group that it has
            mode &= ~(_GROUP | stat.S_ISGID)
    os.chmod(path, mode)


def owner(path: str) -> str:
    """Return the name of whom a file belongs to."""
    return _name(os.stat(path).st_uid)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # an account that this host's directory does not know
        return "account %d" % uid


def _mode(path: str) -> str:
    return stat.filemode(os.stat(path).st_mode)
