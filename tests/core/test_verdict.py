"""The rules of DESIGN "Verdict", one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dagster_slurm.core.observations import Began, Ended, Looked, LookFailed, OddWord, Unanswered, Waiting
from dagster_slurm.core.verdict import ACCOUNT_LAG, ENRICHMENT, PATIENCE, RECORD_LAG, Verdict, asks_log, with_log
from tests.core.jobs import Watched, account, exit_, queue, row, start, usage

WORDS = "PENDING RUNNING COMPLETING COMPLETED FAILED CANCELLED TIMEOUT PREEMPTED NODE_FAIL OUT_OF_MEMORY ODD".split()
STOPPED = {"CANCELLED": "cancelled", "TIMEOUT": "time_limit", "PREEMPTED": "preempted", "NODE_FAIL": "node_failure"}


class TestAnEndByItself:
    @pytest.mark.parametrize("word", WORDS)
    def test_code_0_is_success_whatever_slurm_says(self, word: str) -> None:
        watched = Watched().record(start(), exit_(0))
        assert watched.cause() == "success"
        assert watched.queue(word).account(word).cause() == "success"

    def test_a_warning_alone_is_no_signal_that_stops(self) -> None:
        assert Watched(warning="USR1").record(start(), exit_(0, "USR1")).cause() == "success"

    @pytest.mark.parametrize("word", WORDS)
    @pytest.mark.parametrize("code", [1, 127, 128, 200, 255])
    def test_another_code_is_a_failure_whatever_slurm_says(self, word: str, code: int) -> None:
        watched = Watched().record(start(), exit_(code)).queue(word).account(word)
        expected = "out_of_memory" if word == "OUT_OF_MEMORY" else "exit_code"
        assert watched.cause(after=ENRICHMENT) == expected
        decision = watched.decision()
        assert isinstance(decision, Verdict)
        assert decision.code == code

    @pytest.mark.parametrize("more", [{"gpus": 1}, {"count": 2}])
    def test_after_a_good_end_accounting_alone_knows_of_gpus_and_other_nodes(self, more: dict[str, int]) -> None:
        lines = (replace(start(), **more), exit_(0))
        watched = Watched().record(*lines)
        assert watched.cause() == "wait for word"
        assert watched.queue("COMPLETED").cause() == "wait for word"
        assert watched.account("COMPLETED").cause() == "success"
        assert watched.decision().word is not None  # pyright: ignore[reportAttributeAccessIssue]
        assert Watched().record(*lines).cause(after=ENRICHMENT + 0.1) == "success"
        assert Watched().record(*lines).see(LookFailed("accounting", "disabled")).cause() == "success"
        assert Watched(asks=False).record(*lines).cause() == "success"

    def test_accounting_is_waited_for_a_moment_since_it_alone_knows_of_memory(self) -> None:
        watched = Watched().record(start(), exit_(1))
        assert watched.cause() == "wait for word"
        assert watched.queue("FAILED").cause() == "wait for word"
        assert watched.account("RUNNING").cause() == "wait for word"
        assert watched.account("FAILED", oom=True).cause() == "out_of_memory"

    def test_accounting_that_is_away_is_not_waited_for(self) -> None:
        watched = Watched().record(start(), exit_(1)).see(LookFailed("accounting", "disabled"))
        assert watched.cause() == "wait for word"
        assert watched.queue("FAILED").cause() == "exit_code"

    def test_if_nobody_answers_it_is_decided_all_the_same(self) -> None:
        watched = Watched().record(start(), exit_(1))
        assert watched.cause(after=ENRICHMENT + 0.1) == "exit_code"

    def test_beside_dagster_there_is_nobody_to_ask(self) -> None:
        assert Watched(asks=False).record(start(), exit_(3)).cause() == "exit_code"

    def test_a_start_that_slurm_adds_to_a_finished_run_changes_nothing(self) -> None:
        watched = Watched().record(start(), exit_(0))
        assert watched.queue("PENDING").cause() == "success"


class TestASignalledEnd:
    @pytest.mark.parametrize("code", [0, 1, 143])
    @pytest.mark.parametrize("word", STOPPED)
    @pytest.mark.parametrize("source", ["queue", "accounting"])
    def test_what_slurm_stopped_is_never_a_success(self, word: str, code: int, source: str) -> None:
        watched = Watched().record(start(), exit_(code, "TERM"))
        assert watched.cause() == "wait for word"
        if source == "accounting":
            watched.queue(None, after=5)  # known no longer
        (watched.queue if source == "queue" else watched.account)(word)
        assert watched.cause() == "wait for record"
        assert watched.reread().cause() == STOPPED[word]

    @pytest.mark.parametrize("word", ["COMPLETED", "FAILED"])
    def test_if_slurm_names_no_reason_it_is_an_interruption(self, word: str) -> None:
        watched = Watched().record(start(), exit_(0, "TERM")).queue(word).reread()
        assert watched.cause() == "wait for record"  # of a further start, that may be seen late
        assert watched.cause(after=RECORD_LAG) == "interrupted"
        prompt = Watched()
        prompt.tracked = replace(prompt.tracked, late=False)
        assert prompt.record(start(), exit_(0, "TERM")).queue(word).reread().cause() == "interrupted"

    def test_the_warning_before_the_time_limit_is_a_reason(self) -> None:
        watched = Watched(warning="TERM").record(start(), exit_(0, "TERM")).queue("COMPLETED").reread()
        assert watched.cause() == "time_limit"

    def test_who_cancelled_a_job_that_had_run_out_of_memory(self) -> None:
        watched = Watched().record(start(), exit_(0, "TERM")).account("CANCELLED", oom=True).reread()
        assert watched.cause() == "cancelled"

    @pytest.mark.parametrize(("measured", "expected"), [(11, "signal"), (None, "signal"), (0, "exit_code")])
    def test_a_code_above_128_is_a_signal_unless_it_was_measured_otherwise(
        self, measured: int | None, expected: str
    ) -> None:
        lines = [] if measured is None else [usage(measured)]
        assert Watched().record(start(), *lines, exit_(139)).queue("FAILED").reread().cause() == expected
        assert Watched(asks=False).record(start(), *lines, exit_(139)).cause() == expected

    def test_killed_for_memory(self) -> None:
        assert Watched().record(start(), exit_(137)).account("FAILED", oom=True).reread().cause() == "out_of_memory"

    def test_if_nobody_answers_it_is_an_interruption_and_that_takes_no_minutes(self) -> None:
        watched = Watched().record(start(), exit_(0, "TERM"))
        watched.see(LookFailed("queue", "x"), LookFailed("accounting", "x"))
        assert watched.cause(after=PATIENCE - 0.1) == "wait for word"
        assert watched.cause(after=0.2) == "interrupted"
        assert PATIENCE < 60

    def test_a_look_that_began_before_the_end_says_nothing_of_it(self) -> None:
        watched = Watched().record(start())
        before = watched.now
        watched.record(start(), exit_(0, "TERM"), after=20)
        watched.see(queue("CANCELLED", before), account("CANCELLED", before))
        assert watched.cause() == "wait for word"

    def test_a_requeued_job_is_waited_for(self) -> None:
        watched = Watched().record(start(), exit_(143, "TERM")).queue("PENDING")
        assert watched.cause(after=36000) == "wait for word"
        assert watched.see(LookFailed("queue", "x")).cause(after=36000) == "wait for word"
        watched.record(start(), exit_(143, "TERM"), start(1))
        assert watched.cause(after=36000) == "wait for time"
        assert watched.record(start(), exit_(143, "TERM"), start(1), exit_(0, restart=1)).cause() == "success"

    @pytest.mark.parametrize("word", ["PREEMPTED", "NODE_FAIL"])
    def test_accounting_tells_of_the_earlier_end_of_a_requeued_job(self, word: str) -> None:
        """As recorded: accounting says PREEMPTED while the queue says PENDING."""
        watched = Watched().record(start(), exit_(143, "TERM")).account(word)
        assert watched.reread().cause() == "wait for word"
        assert watched.queue("PENDING").account(word).reread().cause(after=3600) == "wait for word"

    @pytest.mark.parametrize("word", ["PREEMPTED", "NODE_FAIL"])
    def test_accounting_alone_is_believed_in_the_end(self, word: str) -> None:
        watched = Watched().record(start(), exit_(143, "TERM")).see(LookFailed("queue", "x")).account(word).reread()
        assert watched.cause(after=PATIENCE) == STOPPED[word]

    def test_a_requeued_job_that_is_cancelled_while_it_waits(self) -> None:
        watched = Watched().record(start(), exit_(143, "TERM")).queue("PENDING").queue("CANCELLED", after=900)
        watched.account("PREEMPTED")  # of the earlier start
        assert watched.reread().cause() == "cancelled"

    def test_one_look_that_does_not_know_a_requeued_job_is_not_enough(self) -> None:
        watched = Watched().record(start(), exit_(143, "TERM")).queue("PENDING")
        assert watched.queue(None, after=900).cause() == "wait for word"
        assert watched.queue(None, after=31).cause() == "interrupted"

    def test_a_queue_that_fails_while_accounting_answers(self) -> None:
        watched = Watched().record(start(), exit_(0, "TERM")).queue("COMPLETING")
        watched.see(LookFailed("queue", "x")).account("CANCELLED", after=2)
        assert watched.cause() == "wait for word"
        assert watched.account("CANCELLED", after=40).reread().cause() == "cancelled"

    def test_accounting_that_never_hears_of_the_end(self) -> None:
        watched = Watched().record(start(), exit_(0, "TERM")).queue(None, after=6).account("RUNNING")
        assert watched.cause() == "wait for word"
        assert watched.queue(None, after=40).account("RUNNING").cause(after=PATIENCE) == "interrupted"


class TestNoEnd:
    def test_nothing_is_known(self) -> None:
        assert Watched().cause(after=1e6) == "wait for time"
        assert Watched().record(start()).cause(after=1e6) == "wait for time"

    def test_failed_looks_end_nothing(self) -> None:
        watched = Watched().record(start())
        for _ in range(100):
            watched.see(LookFailed("queue", "x"), LookFailed("accounting", "y"), after=45).reread()
        assert watched.cause() == "wait for time"

    def test_lost_takes_two_looks_and_a_reading_after_both(self) -> None:
        watched = Watched().record(start()).queue(None, after=10)
        assert watched.reread().cause() == "wait for time"
        watched.queue(None, after=10)
        assert watched.reread().cause() == "wait for time"
        watched.queue(None, after=20)
        assert watched.cause() == "wait for record"
        assert watched.reread().cause() == "lost"

    def test_further_looks_do_not_begin_the_count_anew(self) -> None:
        watched = Watched().record(start()).queue(None, after=10).queue(None, after=31).queue(None, after=1)
        assert watched.cause() == "wait for record"

    def test_looks_that_began_before_the_submit_was_answered_do_not_count(self) -> None:
        watched = Watched().queue(None, after=2).queue(None, after=1)
        assert not watched.tracked.absences
        assert watched.queue(None, after=29).queue(None, after=29).reread().cause() == "wait for time"

    def test_a_job_that_appears_again_is_not_lost(self) -> None:
        watched = Watched().record(start()).queue(None, after=10).queue("RUNNING").queue(None, after=31).reread()
        assert watched.cause() == "wait for time"

    def test_an_old_look_that_arrives_late_counts_for_nothing(self) -> None:
        watched = Watched().record(start()).queue("RUNNING", after=60)
        watched.see(queue(None, watched.now - 20)).queue(None, after=25).reread()
        assert watched.cause() == "wait for time"

    def test_a_process_beside_dagster_that_is_gone_is_lost_at_once(self) -> None:
        watched = Watched(asks=False).record(start()).queue("RUNNING").queue(None)
        assert watched.cause() == "wait for record"
        assert watched.reread().cause() == "lost"

    @pytest.mark.parametrize("word", STOPPED)
    def test_slurms_word_is_enough_where_it_stopped_the_job(self, word: str) -> None:
        watched = Watched().record(start()).queue(word)
        assert watched.cause().startswith("wait")
        assert watched.reread().cause(after=6) == STOPPED[word]

    @pytest.mark.parametrize(
        ("word", "cause", "facts"),
        [
            ("COMPLETED", "lost", {"exit_code": 0, "signal": 0}),
            ("FAILED", "lost", {}),
            ("FAILED", "exit_code", {"exit_code": 66, "signal": 0}),
            ("FAILED", "signal", {"exit_code": 0, "signal": 9}),
        ],
    )
    def test_other_words_wait_for_a_record_that_may_be_late(self, word: str, cause: str, facts: dict[str, int]) -> None:
        watched = Watched().record(start()).queue(word)
        assert watched.cause() == "wait for word"
        told = replace(row(word), **facts)  # pyright: ignore[reportArgumentType] - fields of a row
        watched.see(Looked("accounting", told, watched.now))
        assert watched.cause(after=RECORD_LAG - 1) == "wait for record"
        assert watched.reread(after=2).cause() == cause

    def test_cancelled_while_pending(self) -> None:
        assert Watched().queue("PENDING").queue("CANCELLED").reread(after=6).cause() == "cancelled"

    @pytest.mark.parametrize("word", ["PREEMPTED", "NODE_FAIL"])
    def test_requeued_without_a_word_of_the_job(self, word: str) -> None:
        watched = Watched().record(start()).queue("RUNNING").account(word)
        assert watched.queue("PENDING").account(word).reread().cause(after=3600) == "wait for time"

    def test_a_queue_that_lags_behind_accounting(self) -> None:
        watched = Watched().record(start()).queue(word="RUNNING").see(LookFailed("queue", "x"))
        watched.account("TIMEOUT", after=40)
        assert watched.reread().cause(after=6) == "time_limit"

    def test_accounting_knows_a_job_that_the_queue_does_not(self) -> None:
        watched = Watched().record(start()).queue(None, after=10).queue(None, after=31).account("RUNNING").reread()
        assert watched.cause() == "wait for word"
        assert watched.cause(after=ACCOUNT_LAG) == "lost"

    @pytest.mark.parametrize("word", ["ODD", "REQUEUE_HOLD", "SPECIAL_EXIT", "STAGE_OUT", "SUSPENDED"])
    def test_words_that_keep_waiting(self, word: str) -> None:
        assert Watched().record(start()).queue(word).cause(after=1e6) == "wait for time"
        assert Watched().record(start(), exit_(0, "TERM")).queue(word).cause(after=1e6) == "wait for word"

    def test_out_of_memory(self) -> None:
        assert Watched().record(start()).queue("OUT_OF_MEMORY").reread(after=6).cause() == "out_of_memory"
        watched = Watched().record(start()).queue("FAILED").account("FAILED", oom=True)
        assert watched.reread(after=RECORD_LAG).cause() == "out_of_memory"


class TestLog:
    """slurmstepd writes of memory where no accounting tells it; both lines are real ones."""

    LINES = (
        "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=70.0. Some of your processes may have been killed",
        "x\nslurmstepd-node1: error: Detected 2 oom_kill events in StepId=70.batch. Some of the step tasks",
    )

    @pytest.mark.parametrize("line", LINES)
    @pytest.mark.parametrize("code", [1, 137])
    def test_a_line_on_memory_names_the_cause(self, line: str, code: int) -> None:
        watched = Watched().record(start(), usage(code == 137 and 9), exit_(code)).see(LookFailed("accounting", "away"))
        verdict = watched.queue("FAILED").reread().decision(after=ENRICHMENT)
        assert isinstance(verdict, Verdict)
        assert asks_log(watched.tracked, verdict)
        assert with_log(verdict, line).cause == "out_of_memory"
        assert with_log(verdict, line).code == code
        assert with_log(verdict, "Out of memory, said the payload") == verdict

    def test_it_is_not_asked_where_accounting_answered_or_the_cause_is_known(self) -> None:
        accounted = Watched().record(start(), exit_(1)).account("FAILED")
        success = Watched().record(start(), exit_(0))
        cancelled = Watched().record(start(), exit_(0, "TERM")).queue("CANCELLED").reread()
        beside = Watched(asks=False).record(start(), exit_(1))
        for watched in (accounted, success, cancelled, beside):
            verdict = watched.decision()
            assert isinstance(verdict, Verdict)
            assert not asks_log(watched.tracked, verdict)


class TestEvents:
    def test_start_end_and_start_again_are_told_once_each(self) -> None:
        watched = Watched().record(start()).record(start()).record(start(), exit_(143, "TERM")).reread()
        watched.record(start(), exit_(143, "TERM"), start(1))
        assert [type(event) for event in watched.events] == [Began, Ended, Began]

    def test_a_late_answer_takes_nothing_back(self) -> None:
        watched = Watched().record(start(), usage(), exit_(0)).record(start()).record()
        assert watched.cause() == "success"
        assert watched.tracked.record.usage is not None

    def test_reasons_are_told_once_per_change(self) -> None:
        watched = Watched()
        for reason in ("Priority", "Priority", "Resources", "Resources", "Priority"):
            watched.see(Looked("queue", replace(row("PENDING"), reason=reason), watched.now), after=45)
        assert watched.events == [Waiting("Priority", ""), Waiting("Resources", ""), Waiting("Priority", "")]

    def test_odd_words_and_silence_are_told_once(self) -> None:
        watched = Watched().queue("ODD").queue("ODD").see(LookFailed("queue", "x")).see(LookFailed("queue", "x"))
        assert watched.events == [OddWord("ODD"), Unanswered("queue", "x")]

    def test_the_job_that_won_the_claim_is_the_run(self) -> None:
        watched = Watched().queue("PENDING").record(replace(start(), job="77"))
        assert watched.tracked.job == "77"
        assert watched.tracked.queue is None
