r"""The frames of the channel: a JSON head and a binary body, with lengths and a checksum.

On a clean channel a frame is ``F<head length> <body length> <crc32>\n`` followed by head and body.
On a terminal (``force_tty``) the same bytes travel as one line: ``=f=`` + base64 + ``\n``. What else is written to the
terminal may stand before it, on lines of its own or not.
"""

import base64
import binascii
import json
import re
import zlib
from typing import Any, Dict, Iterator, Tuple

Head = Dict[str, Any]
Frame = Tuple[Head, bytes]

#: the largest body that either side puts into one frame, in bytes
MAX_BODY = 256 * 1024
_HEADER = re.compile(rb"F(\d{1,10}) (\d{1,10}) ([0-9a-f]{8})$")
_MAX_HEADER = 64
_MAX_FRAME = 64 * 1024 * 1024
#: base64 has "=" at its end alone
_MARK = b"=f="
_MAX_LINE = _MAX_FRAME // 3 * 4 + 1024


class FrameError(Exception):
    """What arrived is not a frame: bytes were lost, added or changed on the way."""


def encode(head: Head, body: bytes = b"", tty: bool = False) -> bytes:
    """Return the bytes of one frame."""
    text = json.dumps(head, separators=(",", ":")).encode("utf-8")
    crc = zlib.crc32(body, zlib.crc32(text)) & 0xFFFFFFFF
    frame = b"F%d %d %08x\n" % (len(text), len(body), crc) + text + body
    return _MARK + base64.b64encode(frame) + b"\n" if tty else frame


class Decoder:
    """Turns received bytes into frames, however they are cut."""

    def __init__(self, tty: bool = False) -> None:
        self._tty = tty
        self._buffer = bytearray()
        self._searched = 0  # of the buffer, how much has no line break

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Add received bytes and yield the frames that are complete.

        Raises:
            FrameError: the bytes are not frames; the channel cannot be used any further.
        """
        self._buffer += data
        return self._lines() if self._tty else self._frames()

    def _frames(self) -> Iterator[Frame]:
        while self._buffer:
            end = self._buffer.find(b"\n", 0, _MAX_HEADER)
            if end < 0:
                if len(self._buffer) >= _MAX_HEADER:
                    raise FrameError("no frame header in %r" % bytes(self._buffer[:_MAX_HEADER]))
                return
            head_size, body_size, crc = _header(bytes(self._buffer[:end]))
            total = end + 1 + head_size + body_size
            if len(self._buffer) < total:
                return
            head = bytes(self._buffer[end + 1 : end + 1 + head_size])
            body = bytes(self._buffer[end + 1 + head_size : total])
            del self._buffer[:total]
            yield _checked(head, body, crc)

    def _lines(self) -> Iterator[Frame]:
        while True:
            end = self._buffer.find(b"\n", self._searched)
            if end < 0:
                self._searched = len(self._buffer)
                if self._searched > _MAX_LINE:
                    raise FrameError("a line of more than %d bytes" % _MAX_LINE)
                return
            _, mark, text = bytes(self._buffer[:end]).rpartition(_MARK)
            del self._buffer[: end + 1]
            self._searched = 0
            if mark:  # else a terminal mixes in what was meant for standard error
                yield _line(text.strip(b"\r"))


def _line(text: bytes) -> Frame:
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise FrameError("damaged line: %s" % error)  # noqa: B904 - nothing in it to keep
    frames = list(Decoder().feed(raw))
    if len(frames) != 1:
        raise FrameError("a line of %d bytes with %d frames" % (len(raw), len(frames)))
    return frames[0]


def _header(line: bytes) -> Tuple[int, int, int]:
    match = _HEADER.match(line)
    if not match:
        raise FrameError("not a frame header: %r" % line)
    head_size, body_size, crc = int(match.group(1)), int(match.group(2)), int(match.group(3), 16)
    if head_size + body_size > _MAX_FRAME:
        raise FrameError("a frame of %d bytes" % (head_size + body_size))
    return head_size, body_size, crc


def _checked(head: bytes, body: bytes, crc: int) -> Frame:
    if zlib.crc32(body, zlib.crc32(head)) & 0xFFFFFFFF != crc:
        raise FrameError("checksum does not match")
    try:
        return json.loads(head.decode("utf-8")), body
    except ValueError as error:
        raise FrameError("a head that is no JSON: %s" % error)  # noqa: B904 - nothing in it to keep
