"""How often to look at a file that grows now and then; arithmetic only, in seconds.

Two questions. *If there were nothing else to look at, when would we look again?* Soon where something was said a moment
ago, and the more rarely the longer it is silent (``wish``). *If all wishes together exceed what a guest on a login node
may do, who gets how much?* The delay of news, on average over all news, is smallest if the looks at a file are in
proportion to the square root of how often it has any: who is twice as talkative is not worth twice the looks, since
each look takes all that has gathered (``weight``). So those that talk are heard first, and the end of a quiet job is
not forgotten.

What that comes to at 50 looks a second (tests/benchmarks/test_pace.py): what up to five jobs say is heard after 0.25 s
at most (p95); what five of a hundred say after 0.6 to 1 s, and the ends of the others within 5 to 10 s. Of a hundred
that all talk, output and Pipes messages are 200 files, so that each is read every 4 s: no order can change that.
"""

#: the shortest time between two looks
SHORTEST = 0.03
#: a file that has grown within so many seconds talks
_TALKING = 60.0
#: how often to look at one that talks, at most and at least
_OFTEN, _SELDOM = 0.1, 0.25
#: at least: at one that has not grown yet, that has not for long, and that never has
_SILENT, _QUIET, _NEVER = 1.0, 15.0, 30.0
#: at least: at the record of a job that runs, and of one that waits in the queue
_RUNNING, _PENDING = 3.0, 30.0
#: what a file that never said anything counts beside one that fell silent: it will rarely begin
_MUTE = 0.3
_PATIENCE = 3.0
#: what the end of a job counts beside a line of its output: others wait for it
_END = 1.5
_LEAST_GAP = 0.2


class Pace:
    """How often one file has news.

    Args:
        now: since when it is followed.
    """

    def __init__(self, now: float) -> None:
        self._last = now
        self._gap = 1.0
        self._spoke = False

    def news(self, now: float, lines: int) -> None:
        """Take note that it has grown by so many lines."""
        gap = (now - self._last) / max(lines, 1)
        self._gap = (self._gap + gap) / 2 if self._spoke else min(gap, 1.0)
        self._last, self._spoke = now, True

    def wish(self, now: float) -> float:
        """Return after how many seconds to look again, if nothing else were to be looked at."""
        silence = now - self._last
        if silence < _TALKING:
            return min(max(silence / 10, _OFTEN), _SELDOM if self._spoke else _SILENT)
        return min(silence / 12, _QUIET if self._spoke else _NEVER)

    def longest(self, now: float) -> float:
        """Return after how many seconds to look again in any case: the silence so far tells that much and no more."""
        return 2 * (now - self._last) + _PATIENCE

    def weight(self, now: float) -> float:
        """Return which part of all looks is due to it, in relation to others."""
        # pauses are of any length: only one of several times the usual says that it talks less now
        expected = max(self._gap, now - self._last - 3 * self._gap)
        return _weight(expected) * (1.0 if self._spoke else _MUTE)


def running(age: float) -> float:
    """Return after how many seconds to look again for the end of a job that has run for so long."""
    return min(max(age / 20, SHORTEST), max(1.0, age / 60), _RUNNING)


def pending(age: float) -> float:
    """Return the same for the start of a job that has waited for so long; it can be days."""
    return min(max(age / 20, SHORTEST), _PENDING)


def weight_of_record(age: float) -> float:
    """Return which part of all looks is due to the record of a job that has waited or run for so long."""
    return _weight(age) * _END


def _weight(gap: float) -> float:
    """Return the part that is due to what happens every ``gap`` seconds."""
    return max(gap, _LEAST_GAP) ** -0.5
