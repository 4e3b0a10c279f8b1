"""How a bare ``python3`` on the other side becomes our agent.

The command line is fixed and carries nothing of the user's: it reads the program itself from the channel. It holds no
single quote, backslash, exclamation mark or line break, so that sh, bash, zsh, csh and fish all pass it on unchanged.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence

#: what the bootstrap prints (followed by a line break) when it is ready to read the program. Whatever a login shell
#: printed before it is banner. The program itself spells it in two parts, so that an echo of the command is not it.
SENTINEL = b"=dagster-slurm=agent="

_PROGRAM = (
    "import os,sys,zlib,base64;"
    'tty=os.isatty(0);tty and __import__("tty").setraw(0);'
    'os.write(1,b"=dagster-slurm="+b"agent="+bytes([10]));'
    'f=os.fdopen(0,"rb",0,closefd=False);n=int(f.readline());b=bytes();'
    'exec("while len(b)<n:b+=f.read(n-len(b)) or sys.exit(3)");'
    'exec(compile(zlib.decompress(base64.b64decode(b)),"<dagster-slurm>","exec"))'
)

# Only the standard library: a queue.py in somebody's home or on his PYTHONPATH is not it, and what sites add to each
# start of Python (site-packages, .pth files on a shared file system) takes its time.
_OPTIONS = ("-I", "-S", "-u")

# Runs on the other side: makes a package of the modules it is given, in their order, and calls the last one's main().
_LOADER = """
import json, sys, types
package = types.ModuleType("dagster_slurm_remote"); package.__path__ = []; sys.modules[package.__name__] = package
for name, source in json.loads(%(modules)r):
    module = types.ModuleType(package.__name__ + "." + name); module.__package__ = package.__name__
    sys.modules[module.__name__] = module; setattr(package, name, module)
    exec(compile(source, "<dagster-slurm>/" + name + ".py", "exec"), module.__dict__)
module.main(json.loads(%(options)r), tty)
"""


def argv(python: str = "python3") -> list[str]:
    """Return the bootstrap command for a process that is started without a shell."""
    return [python, *_OPTIONS, "-c", _PROGRAM]


def shell_command(python: str = "python3") -> str:
    """Return the bootstrap command for a login shell of any kind."""
    return f"exec {python} {' '.join(_OPTIONS)} -c '{_PROGRAM}'"


def program(modules: Sequence[tuple[str, str]], options: Mapping[str, object]) -> bytes:
    """Return the bytes to send after the sentinel: the agent's modules (name, source) in order of import.

    Args:
        modules: the last one has ``main(options, tty)``.
        options: JSON-able; handed to ``main``.
    """
    source = _LOADER % {"modules": json.dumps(list(modules)), "options": json.dumps(dict(options))}
    code = base64.b64encode(zlib.compress(source.encode()))
    return b"%d\n" % len(code) + code
