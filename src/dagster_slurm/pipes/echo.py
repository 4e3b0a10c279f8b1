"""Standard output and error of the payload, on those of the step: Dagster's compute logs take them from there."""

from __future__ import annotations

import codecs
import re
import sys
from collections.abc import Callable

_TAIL = 4000
#: colours and movements of the cursor, which mean nothing in an error's text
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Echo:
    """Writes what the payload writes.

    Args:
        warn: is told once per stream if nobody takes the output any more; the job does not care.
        label: stands before each line, and lines are written whole: others write between them.
    """

    def __init__(self, warn: Callable[[str], None], label: str = "") -> None:
        decoder = codecs.getincrementaldecoder("utf-8")
        self._warn = warn
        self._label = label
        self._begun = {"stdout": "", "stderr": ""}
        self._decoders = {stream: decoder("replace") for stream in ("stdout", "stderr")}
        self._ends_whole = {"stdout": True, "stderr": True}
        self._last = {"stdout": "", "stderr": ""}
        self._deaf: set[str] = set()

    def write(self, stream: str, data: bytes) -> None:
        """Write bytes; a character cut in two is put together, what is no UTF-8 is replaced."""
        self._put(stream, self._decoders[stream].decode(data))

    def finish(self) -> None:
        """End a last line that has no end, so that what others write begins on a line of its own."""
        for stream, decoder in self._decoders.items():
            self._put(stream, decoder.decode(b"", final=True))
            if not self._ends_whole[stream]:
                self._put(stream, "\n")

    def restart(self) -> None:
        """Begin anew, as the job does."""
        self.finish()
        self._last = {"stdout": "", "stderr": ""}

    def tail(self, stream: str) -> str:
        """Return the last lines that were written, each as a terminal would show it in the end."""
        lines = _ESCAPES.sub("", self._last[stream]).split("\n")
        return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines).strip()

    def _put(self, stream: str, text: str) -> None:
        if text:
            self._ends_whole[stream] = text.endswith("\n")
            self._last[stream] = (self._last[stream] + text[-_TAIL:])[-_TAIL:]
            text = self._labelled(stream, text) if self._label else text
            if text and stream not in self._deaf:
                self._hand_over(stream, text)

    def _labelled(self, stream: str, text: str) -> str:
        """Keep the last line until it is whole."""
        *lines, self._begun[stream] = (self._begun[stream] + text).split("\n")
        return "".join(f"{self._label}{line}\n" for line in lines)

    def _hand_over(self, stream: str, text: str) -> None:
        target = sys.stdout if stream == "stdout" else sys.stderr
        try:
            try:
                target.write(text)
            except UnicodeEncodeError:  # raised before anything is written: a locale that is not UTF-8
                target.write(text.encode(target.encoding, "replace").decode(target.encoding))
            target.flush()
        except (OSError, ValueError, AttributeError) as error:  # a closed pipe, a closed file, none at all
            self._deaf.add(stream)
            self._warn(
                f"This process's {stream} takes nothing any more ({error}): the payload's is not shown from here."
            )
