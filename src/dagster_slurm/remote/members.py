"""What lies in a wheel must stay in its environment. uv leaves such members out without a word; we refuse the wheel."""

import contextlib
import os
import stat
import zipfile
from typing import Optional

_SYSTEM_UNIX = 3


def leading_out(wheel: str) -> Optional[str]:
    """Return a member of a wheel that leads out of where it is unpacked, with the reason; None: none does."""
    # one that is damaged is uv's to name
    with contextlib.suppress(zipfile.BadZipFile), zipfile.ZipFile(wheel) as opened:
        for item in opened.infolist():
            reason = _reason(item, opened)
            if reason:
                return "%r %s" % (item.filename, reason)
    return None


def _reason(item: zipfile.ZipInfo, opened: zipfile.ZipFile) -> str:
    name = item.filename.replace("\\", "/")
    if name.startswith("/") or name[1:2] == ":":
        return "is an absolute path"
    if ".." in name.split("/"):
        return "leads to a folder above"
    if item.create_system == _SYSTEM_UNIX and stat.S_ISLNK(item.external_attr >> 16):
        target = os.fsdecode(opened.read(item)).replace("\\", "/")
        where = os.path.normpath(os.path.join(os.path.dirname(name), target))
        if target.startswith("/") or where.split("/")[0] == "..":
            return "is a link to %s" % target
    return ""
