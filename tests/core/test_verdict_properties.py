"""What holds of every history: of any observations in any order, and of whole lives of jobs that are watched badly."""

from __future__ import annotations

import random
from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dagster_slurm.core.observations import Looked, LookFailed, Observation, Recorded
from dagster_slurm.core.record import Exit, Record, Start
from dagster_slurm.core.tracker import APART, SETTLED, Tracked, advance
from dagster_slurm.core.verdict import ACCOUNT_LAG, ENRICHMENT, PATIENCE, RECORD_LAG, Verdict, decide
from tests.core.jobs import JOB, SUBMITTED, exit_, record, row, start

MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
WORDS = """
    PENDING CONFIGURING RUNNING SUSPENDED COMPLETING COMPLETED FAILED CANCELLED TIMEOUT PREEMPTED NODE_FAIL BOOT_FAIL
    OUT_OF_MEMORY REQUEUED REQUEUE_HOLD LEVITATING
""".split()
STOPS = {"CANCELLED": "cancelled", "TIMEOUT": "time_limit", "PREEMPTED": "preempted", "NODE_FAIL": "node_failure"}

codes = st.sampled_from([0, 0, 1, 3, 126, 127, 129, 137, 143, 200, 255])
signals = st.sampled_from([(), (), ("TERM",), ("USR1",), ("USR1", "TERM"), ("INT",)])


@st.composite
def records(draw: st.DrawFn) -> list[Start | Exit]:
    """The lines of a job that was started up to three times; the last start may go on."""
    lines: list[Start | Exit] = []
    for restart in range(draw(st.integers(0, 3))):
        lines.append(start(restart))
        if draw(st.booleans()):
            lines.append(exit_(draw(codes), *draw(signals), restart=restart))
            if not lines[-1].signalled:
                break
    return lines


@st.composite
def observations(draw: st.DrawFn) -> list[tuple[float, Observation]]:
    """Anything that may be observed, each with the moment of its arrival; records only grow, or arrive late."""
    whole = draw(records())
    now, seen = SUBMITTED, []
    for _ in range(draw(st.integers(0, 14))):
        now += draw(st.sampled_from([0.0, 0.1, 1.0, 5.0, 31.0, 46.0, 80.0]))
        begun = now - draw(st.sampled_from([0.0, 0.1, 5.0, 29.0]))
        kind = draw(st.sampled_from(["queue", "accounting", "failed", "record", "record"]))
        if kind == "failed":
            seen.append((now, LookFailed(draw(st.sampled_from(["queue", "accounting"])), "x")))
        elif kind == "record":
            part = whole[: draw(st.integers(0, len(whole)))]
            seen.append((now, Recorded(record(*part), begun, whole=draw(st.booleans()))))
        else:
            said = draw(st.none() | st.sampled_from(WORDS))
            found = None if said is None else row(said, oom=draw(st.integers(0, 9)) == 0)
            seen.append((now, Looked("queue" if kind == "queue" else "accounting", found, begun)))
    return seen


def histories(seen: list[tuple[float, Observation]], *, asks: bool = True) -> list[tuple[float, Tracked]]:
    """All that was known, after each observation."""
    tracked = Tracked(JOB, SUBMITTED, asks)
    known = [(SUBMITTED, tracked)]
    for now, observation in seen:
        tracked, _ = advance(tracked, observation, now)
        known.append((now, tracked))
    return known


later = st.sampled_from([0.0, 1.0, ENRICHMENT, 10.0, PATIENCE, RECORD_LAG, 100.0, ACCOUNT_LAG, 1e5])


@MANY
@given(observations(), later, st.booleans())
def test_success_is_an_unsignalled_exit_line_with_code_0_and_nothing_else(
    seen: list[tuple[float, Observation]], wait: float, asks: bool
) -> None:
    for now, tracked in histories(seen, asks=asks):
        decision = decide(tracked, now + wait)
        ended = tracked.record.exit
        proof = ended is not None and not ended.signalled and ended.code == 0
        assert (isinstance(decision, Verdict) and decision.success) == proof


@MANY
@given(observations())
def test_an_unsignalled_exit_line_is_final(seen: list[tuple[float, Observation]]) -> None:
    for now, tracked in histories(seen):
        ended = tracked.record.exit
        if ended is not None and not ended.signalled and ended.code:
            decision = decide(tracked, now + ENRICHMENT)
            assert isinstance(decision, Verdict)
            assert decision.cause in {"exit_code", "out_of_memory"}
            assert decision.code == ended.code


@MANY
@given(observations(), later)
def test_what_slurm_stopped_is_named_so(seen: list[tuple[float, Observation]], wait: float) -> None:
    for now, tracked in histories(seen):
        ended, decision = tracked.record.exit, decide(tracked, now + wait)
        if isinstance(decision, Verdict) and ended is not None and ended.signalled:
            assert not decision.success
            if decision.word is not None and decision.word.state.interrupts:
                assert decision.cause in STOPS.values()


@MANY
@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0, 45.0, 1e4]), st.sampled_from(["queue", "accounting"]))), later)
def test_failed_looks_alone_end_nothing(failures: list[tuple[float, str]], wait: float) -> None:
    for known in (record(), record(start()), record(start(), exit_(143, "TERM"), start(1))):
        seen: list[tuple[float, Observation]] = [(SUBMITTED, Recorded(known, SUBMITTED, whole=True))]
        for pause, source in failures:
            seen.append((seen[-1][0] + pause, LookFailed("queue" if source == "queue" else "accounting", "x")))
            seen.append((seen[-1][0], Recorded(known, seen[-1][0], whole=True)))
        for now, tracked in histories(seen):
            assert not isinstance(decide(tracked, now + wait), Verdict)


@MANY
@given(observations(), later)
def test_lost_takes_two_looks_apart_and_a_reading_after_them(
    seen: list[tuple[float, Observation]], wait: float
) -> None:
    known = histories(seen)
    for index, (now, tracked) in enumerate(known):
        decision = decide(tracked, now + wait)
        if (
            not isinstance(decision, Verdict)
            or decision.cause != "lost"
            or (decision.word and decision.word.state.terminal)
        ):
            continue
        begun = [
            look.begun
            for _, look in seen[:index]
            if isinstance(look, Looked) and look.source == "queue" and not look.row
        ]
        assert max(begun) - min(begun) >= APART
        assert tracked.absences[0] >= SUBMITTED + SETTLED
        assert tracked.reread > tracked.absences[1] >= tracked.absences[0] + APART
        assert any(
            isinstance(read, Recorded) and read.whole and read.begun > tracked.absences[1] for _, read in seen[:index]
        )


@MANY
@given(observations(), later)
def test_a_job_that_the_queue_knows_as_going_on_is_waited_for(
    seen: list[tuple[float, Observation]], wait: float
) -> None:
    """PENDING after a signalled exit is a requeue; an unknown word is nothing to decide on."""
    for now, tracked in histories(seen):
        ended, queue = tracked.record.exit, tracked.queue
        if (ended is not None and not ended.signalled) or queue is None or queue.state.terminal:
            continue
        fresh = tracked.account is None or tracked.account_at - tracked.queue_at <= APART
        if fresh or not tracked.account.state.terminal:
            assert not isinstance(decide(tracked, now + wait), Verdict)


@MANY
@given(observations(), st.sampled_from(WORDS))
def test_every_history_comes_to_an_end_once_slurm_spoke_its_last_word(
    seen: list[tuple[float, Observation]], word: str
) -> None:
    now, tracked = histories(seen)[-1]
    last = row(word)
    if not last.state.terminal:
        return
    now += APART
    tracked, _ = advance(tracked, Looked("queue", last, now), now)
    now += RECORD_LAG + 1
    tracked, _ = advance(tracked, Recorded(tracked.record, now, whole=True), now)
    assert isinstance(decide(tracked, now), Verdict)


@MANY
@given(observations(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_turns_no_success_into_a_failure(
    seen: list[tuple[float, Observation]], shuffled: random.Random
) -> None:
    """What began when stays; when it arrives changes."""
    other = [observation for _, observation in seen]
    shuffled.shuffle(other)
    end = (seen[-1][0] if seen else SUBMITTED) + 1e6
    (_, one), (_, two) = histories(seen)[-1], histories(list(zip([now for now, _ in seen], other, strict=True)))[-1]
    assert one.record == two.record
    first, second = decide(one, end), decide(two, end)
    assert (isinstance(first, Verdict) and first.success) == (isinstance(second, Verdict) and second.success)


# --- whole lives


@dataclass(frozen=True)
class Life:
    """What really happens to a job, and how badly it can be seen.

    Args:
        lines: of the record, each with the moment at which it is written.
        words: the queue's words, each with the moment from which on it says so.
        account_lag: how much later accounting says the same; None: there is none.
        purge: how long after the last word the queue knows the job.
        squeue_fails: from when to when squeue fails.
        record_lag: how much later a line can be seen.
    """

    lines: tuple[tuple[float, Start | Exit], ...]
    words: tuple[tuple[float, str], ...]
    account_lag: float | None
    purge: float
    squeue_fails: tuple[float, float]
    record_lag: float

    @property
    def end(self) -> float:
        return self.words[-1][0]

    @property
    def exit(self) -> Exit | None:
        last = self.lines[-1][1] if self.lines else None
        return last if isinstance(last, Exit) else None

    def record_at(self, now: float) -> Record:
        return record(*(line for moment, line in self.lines if moment + self.record_lag <= now))

    def queue_at(self, now: float) -> Looked | LookFailed:
        if self.squeue_fails[0] <= now < self.squeue_fails[1]:
            return LookFailed("queue", "Socket timed out")
        known = [word for moment, word in self.words if moment <= now]
        gone = now > self.end + self.purge
        return Looked("queue", None if gone or not known else row(known[-1]), now)

    def account_at(self, now: float) -> Looked | LookFailed:
        if self.account_lag is None:
            return LookFailed("accounting", "disabled")
        seen = now - self.account_lag
        known = [word for moment, word in self.words if moment <= seen]
        return Looked("accounting", row(known[-1]) if known else None, now)


@st.composite
def lives(draw: st.DrawFn) -> Life:
    """A job that waits, runs, may be requeued, and ends in some way."""
    now = SUBMITTED + draw(st.sampled_from([0.5, 8.0, 300.0]))
    lines: list[tuple[float, Start | Exit]] = []
    words = [(SUBMITTED, "PENDING")]
    for restart in range(draw(st.integers(1, 3))):
        lines.append((now, start(restart)))
        words.append((now, "RUNNING"))
        now += draw(st.sampled_from([0.3, 4.0, 40.0, 400.0]))
        how = draw(st.sampled_from(["by itself", "stopped", "stopped at once", "requeued"]))
        if how == "requeued":
            if draw(st.booleans()):
                lines.append((now, exit_(draw(codes), "TERM", restart=restart)))
            words += [(now, "COMPLETING"), (now + 1.0, "PENDING")]
            now += draw(st.sampled_from([8.0, 130.0]))
            continue
        if how == "by itself":
            code = draw(st.sampled_from([0, 0, 1, 255]))
            lines.append((now, exit_(code, restart=restart)))
            words += [(now, "COMPLETING"), (now + 0.5, "FAILED" if code else "COMPLETED")]
        else:
            word = draw(st.sampled_from(["CANCELLED", "TIMEOUT", "PREEMPTED", "NODE_FAIL"]))
            if how == "stopped":
                lines.append((now, exit_(draw(st.sampled_from([0, 1, 143])), "TERM", restart=restart)))
            words += [(now, "COMPLETING"), (now + draw(st.sampled_from([0.5, 20.0])), word)]
        break
    else:
        words.append((now, "CANCELLED"))  # while it waited to be started again
    fails = draw(st.sampled_from([(0.0, 0.0), (0.0, 0.0), (now - 20, now + 20), (now - 1, now + 1e9)]))
    return Life(
        tuple(lines),
        tuple(words),
        draw(st.sampled_from([None, 0.0, 2.0, 20.0])),
        draw(st.sampled_from([300.0, 300.0, 5.0])),
        fails,
        draw(st.sampled_from([0.0, 0.0, 1.0, 30.0])),
    )


#: how often in a row the record may not be read
MISSED = 2


def watch(life: Life, dice: random.Random, limit: float) -> tuple[Verdict | None, float]:
    """Watch a job as the engine does: looks by and by, more where a decision needs them, the record as it grows."""
    now, tracked, unread = SUBMITTED, Tracked(JOB, SUBMITTED), 0
    next_look, pause, next_help = SUBMITTED + 4.0, 0.2, 0.0
    while now < limit:
        arrived: list[Observation] = []
        if now >= next_look:
            next_look = now + 45.0
            arrived += [life.queue_at(now), life.account_at(now)]
        unread = 0 if unread == MISSED or dice.random() < 0.7 else unread + 1
        if not unread:
            arrived.append(Recorded(life.record_at(now), now))
        decision = decide(tracked, now)
        if isinstance(decision, Verdict):
            return decision, now
        if decision.need == "time":
            pause, next_help = 0.2, 0.0
        elif now >= next_help:
            next_help, pause = now + pause, min(pause * 2, 30.0)
            arrived += (
                [Recorded(life.record_at(now), now, whole=True)]
                if decision.need == "record"
                else [life.account_at(now), life.queue_at(now)]
            )
        dice.shuffle(arrived)
        for observation in arrived:
            tracked, _ = advance(tracked, observation, now)
            decision = decide(tracked, now)
            if isinstance(decision, Verdict):
                return decision, now
        near = any(-1 < now - moment < 3 for moment, _ in (*life.words, *life.lines))
        now += 0.25 if near else 2.0
    return None, now


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lives(), st.integers(0, 1 << 30))
def test_the_whole_life_of_a_job_is_judged_rightly_and_soon(life: Life, seed: int) -> None:
    verdict, when = watch(life, random.Random(seed), life.end + 400)
    ended = life.exit
    if ended is not None and not ended.signalled:
        assert verdict is not None
        assert verdict.success == (ended.code == 0)
        assert life.lines[-1][0] <= when <= life.lines[-1][0] + life.record_lag + ENRICHMENT + 10
        return
    silent = life.account_lag is None and life.squeue_fails[1] > life.end + 400
    if verdict is None:
        assert silent
        requeued = ended is not None and life.words[-2][1] == "PENDING"
        assert ended is None or requeued, "who was signalled is not waited for when nobody answers"
        return
    assert not verdict.success
    assert when <= life.end + life.record_lag + 200
    if not silent:
        assert when >= life.end, "judged while it could still go on"
    if life.purge > 100 and life.squeue_fails == (0.0, 0.0):
        assert verdict.cause == STOPS[life.words[-1][1]]
