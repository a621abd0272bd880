from dataclasses import replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from costctl.domain.lifecycle import (
    BACKOFF_FIRST_S,
    BACKOFF_LONGEST_S,
    FUTILE_AFTER_FAILURES,
    HEALTHY_AFTER_S,
    CloseCancelled,
    Effect,
    EngineAnswered,
    EngineBroke,
    EngineGone,
    EngineRemains,
    EngineState,
    Lifecycle,
    RequestCame,
    RequestEnded,
    StartWanted,
    StopWanted,
    WaiterLeft,
    retry_after_s,
    step,
)

OFF = Lifecycle(state=EngineState.OFF, since=0.0, last_work_at=0.0)


def after(state, *events, at=10.0):
    """Return the state after the events, and the effects of the last one."""
    effects = ()
    for event in events:
        state, effects = step(state, event, at)
    return state, effects


READY, _ = after(OFF, StartWanted(), EngineAnswered())
FAILED, _ = after(OFF, StartWanted(), EngineBroke("out of memory"), EngineGone())


def test_the_first_request_launches_the_engine_and_waits_for_it():
    state, effects = after(OFF, RequestCame())
    assert (state.state, state.waiting) == (EngineState.STARTING, 1)
    assert effects == (Effect.HOLD, Effect.LAUNCH)


def test_more_requests_wait_for_the_same_start():
    state, effects = after(OFF, RequestCame(), RequestCame(), RequestCame())
    assert (state.waiting, effects) == (3, (Effect.HOLD,))


def test_a_ready_engine_gets_all_that_waited():
    state, effects = after(OFF, RequestCame(), RequestCame(), EngineAnswered())
    assert (state.state, state.in_flight, state.waiting) == (EngineState.READY, 2, 0)
    assert effects == (Effect.ADMIT_WAITING,)


def test_a_start_goes_on_when_all_who_waited_have_left():
    state, effects = after(OFF, RequestCame(), WaiterLeft())
    assert (state.state, state.waiting, effects) == (EngineState.STARTING, 0, ())


def test_a_full_queue_turns_requests_away():
    state, effects = after(replace(OFF, most_waiting=1), RequestCame(), RequestCame())
    assert (state.waiting, effects) == (1, (Effect.REFUSE,))


def test_a_start_that_somebody_wants_is_launched_once():
    state, effects = after(OFF, StartWanted())
    assert (state.state, effects) == (EngineState.STARTING, (Effect.LAUNCH,))
    assert after(state, StartWanted()) == (state, ())


def test_a_failed_start_turns_away_those_who_waited_for_it_and_counts_as_their_end():
    state, effects = after(OFF, RequestCame(), EngineBroke("no memory"), at=500.0)
    assert (state.state, state.waiting, state.reason) == (EngineState.STOPPING, 0, "no memory")
    assert effects == (Effect.REFUSE_WAITING, Effect.END_ENGINE)
    assert state.last_work_at == 500.0, "or the machine would be stopped the moment the start has failed"


def test_after_a_failure_the_engine_is_failed_with_its_reason_and_a_backoff():
    assert (FAILED.state, FAILED.reason) == (EngineState.FAILED, "out of memory")
    assert retry_after_s(FAILED, 10.0) == BACKOFF_FIRST_S
    assert retry_after_s(READY, 10.0) == 0.0


def test_a_request_during_the_backoff_is_turned_away_and_one_after_it_starts_the_engine():
    assert after(FAILED, RequestCame(), at=10.0 + BACKOFF_FIRST_S - 0.1)[1] == (Effect.REFUSE,)
    state, effects = after(FAILED, RequestCame(), at=10.0 + BACKOFF_FIRST_S)
    assert (state.state, effects) == (EngineState.STARTING, (Effect.HOLD, Effect.LAUNCH))


def test_the_backoff_doubles_with_every_failure_up_to_its_cap():
    state, at, pauses = OFF, 0.0, []
    for _ in range(12):
        state, _ = after(state, StartWanted(), EngineBroke("again"), EngineGone(), at=at)
        pauses.append(state.retry_at - at)
        at = state.retry_at
    assert pauses[:3] == [2.0, 4.0, 8.0]
    assert pauses == sorted(pauses)
    assert pauses[-1] == BACKOFF_LONGEST_S


def test_an_engine_that_was_ready_for_a_while_has_proved_itself():
    ready, _ = after(replace(FAILED, failures=5), StartWanted(), EngineAnswered(), at=1000.0)
    crashed, _ = after(ready, EngineBroke("crash"), at=1000.0 + HEALTHY_AFTER_S)
    assert crashed.failures == 1
    crashed_at_once, _ = after(ready, EngineBroke("crash"), at=1000.0 + HEALTHY_AFTER_S - 1)
    assert crashed_at_once.failures == 6


def test_an_engine_that_has_answered_a_request_has_proved_itself_however_soon_it_crashes():
    state, at = replace(FAILED, failures=5), 1000.0
    for _ in range(20):
        state, _ = after(state, RequestCame(), EngineAnswered(), RequestEnded(answered=True), at=at)
        state, _ = after(state, EngineBroke("killed"), EngineGone(), at=at)
        assert (state.failures, state.retry_at - at) == (1, BACKOFF_FIRST_S)
        at = state.retry_at


def test_an_answer_of_an_earlier_engine_proves_nothing_of_this_one():
    ready, _ = after(FAILED, RequestCame(), EngineAnswered(), RequestEnded(answered=True), at=100.0)
    crashed, _ = after(ready, EngineBroke("killed"), EngineGone(), at=100.0)
    again, _ = after(crashed, RequestCame(), EngineAnswered(), RequestEnded(), EngineBroke("at once"), at=200.0)
    assert again.failures == 2


def test_only_starts_that_failed_since_an_engine_was_ready_count_as_failed_starts():
    state, _ = after(FAILED, StartWanted(), EngineBroke("no memory"), EngineGone(), at=1000.0)
    assert (state.failures, state.failed_starts) == (2, 2)
    state, _ = after(state, StartWanted(), EngineAnswered(), EngineBroke("crash"), EngineGone(), at=2000.0)
    assert (state.failures, state.failed_starts) == (3, 0)


def test_a_stop_that_was_asked_for_forgets_earlier_failures():
    state, _ = after(replace(FAILED, failures=5), StartWanted(), EngineAnswered(), StopWanted("idle"), at=1000.0)
    assert after(state, EngineGone())[0].state is EngineState.OFF


def test_a_stop_asked_during_the_start_turns_away_those_who_wait():
    state, effects = after(OFF, RequestCame(), StopWanted("costctl stop"))
    assert (state.state, state.waiting) == (EngineState.STOPPING, 0)
    assert effects == (Effect.REFUSE_WAITING, Effect.END_ENGINE)


def test_a_request_is_never_admitted_to_a_dying_engine_but_waits_for_the_next():
    dying, effects = after(READY, StopWanted("idle"), RequestCame())
    assert (dying.waiting, dying.in_flight, effects) == (1, 0, (Effect.HOLD,))
    assert after(dying, EngineAnswered()) == (dying, ()), "a late answer of the dying engine admits nobody"
    next_one, effects = after(dying, EngineGone())
    assert (next_one.state, next_one.waiting, effects) == (EngineState.STARTING, 1, (Effect.LAUNCH,))


def test_the_last_request_of_a_stopping_engine_ends_the_drain():
    state, _ = after(READY, RequestCame(), RequestCame(), StopWanted("idle"))
    state, effects = after(state, RequestEnded())
    assert effects == ()
    assert after(state, RequestEnded())[1] == (Effect.DRAINED,)


def test_a_closing_daemon_starts_and_takes_nothing_until_the_closing_is_cancelled():
    closing, _ = after(OFF, StopWanted("idle", closing=True))
    assert after(closing, RequestCame())[1] == (Effect.REFUSE,)
    assert after(closing, StartWanted())[1] == ()
    open_again, _ = after(closing, CloseCancelled())
    assert after(open_again, RequestCame())[1] == (Effect.HOLD, Effect.LAUNCH)


def test_a_closing_daemon_turns_away_those_who_waited_for_the_next_engine():
    waiting, _ = after(READY, StopWanted("idle"), RequestCame())
    state, effects = after(waiting, StopWanted("SIGTERM", closing=True))
    assert (state.waiting, effects) == (0, (Effect.REFUSE_WAITING,))
    assert after(state, EngineGone())[0].state is EngineState.OFF


def test_an_engine_that_would_not_end_is_stuck_until_it_is_gone_after_all():
    stopping, _ = after(READY, StopWanted("idle"), RequestCame())
    stuck, effects = after(stopping, EngineRemains("2 GiB of GPU memory did not come back"))
    assert (stuck.state, stuck.waiting, effects) == (EngineState.STUCK, 0, (Effect.REFUSE_WAITING,))
    assert after(stuck, RequestCame())[1] == (Effect.REFUSE,)
    assert after(stuck, EngineGone())[0].state is EngineState.OFF


def test_a_broken_engine_that_was_stuck_is_failed_for_what_broke_it_when_it_is_gone():
    stuck, _ = after(READY, EngineBroke("crash"), EngineRemains("a process"))
    gone, _ = after(stuck, EngineGone())
    assert (stuck.reason, gone.state, gone.reason) == ("a process", EngineState.FAILED, "crash")


def test_only_a_stopping_engine_can_remain():
    assert after(READY, EngineRemains("a process")) == (READY, ())


@pytest.mark.parametrize("event", [EngineGone(), EngineRemains("x"), EngineBroke("x"), EngineAnswered()])
def test_news_of_an_engine_that_is_off_changes_nothing(event):
    assert after(OFF, event) == (OFF, ())


SETTLED = (EngineState.OFF, EngineState.READY, EngineState.FAILED, EngineState.STUCK)


class Lives(RuleBasedStateMachine):
    """Any order of events: the numbers of requests agree with what each of them was told."""

    @initialize(most_waiting=st.integers(1, 4))
    def begin(self, most_waiting):
        self.state = replace(OFF, most_waiting=most_waiting)
        self.at = 0.0
        self.waiting = self.admitted = 0
        self.engines = 0
        self.broke = False

    def send(self, event):
        before = self.state
        self.state, effects = step(before, event, self.at)
        for effect in effects:
            self.apply(effect, before)
        return effects

    def apply(self, effect, before):
        match effect:
            case Effect.HOLD:
                self.waiting += 1
            case Effect.ADMIT:
                assert before.state is EngineState.READY
                self.admitted += 1
            case Effect.ADMIT_WAITING:
                self.admitted, self.waiting = self.admitted + self.waiting, 0
            case Effect.REFUSE_WAITING:
                if self.waiting:
                    worked = self.state.last_work_at == self.at
                    failures = max(before.failures, self.state.failures)  # a stop that was asked for forgets them
                    assert worked or failures >= FUTILE_AFTER_FAILURES, "who is turned away was work"
                self.waiting = 0
            case Effect.LAUNCH:
                assert not self.state.closing
                assert self.engines == 0, "one engine at a time"
                assert self.at >= before.retry_at or before.state is not EngineState.FAILED
                self.engines = 1
                self.broke = False
            case Effect.END_ENGINE:
                assert self.engines == 1

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 3.0, 70.0, 400.0]))
    def time_passes(self, seconds):
        self.at += seconds

    @rule()
    def a_request_comes(self):
        effects = self.send(RequestCame())
        answers = [effect for effect in effects if effect in (Effect.ADMIT, Effect.HOLD, Effect.REFUSE)]
        assert len(answers) == 1

    @precondition(lambda self: self.waiting)
    @rule()
    def somebody_stops_waiting(self):
        self.waiting -= 1
        self.send(WaiterLeft())

    @precondition(lambda self: self.admitted)
    @rule()
    def a_request_ends(self):
        self.admitted -= 1
        effects = self.send(RequestEnded())
        assert (Effect.DRAINED in effects) == (self.state.state is EngineState.STOPPING and not self.admitted)

    @rule()
    def the_engine_is_wanted(self):
        self.send(StartWanted())

    @precondition(lambda self: self.state.state is EngineState.STARTING)
    @rule()
    def the_engine_answers(self):
        self.send(EngineAnswered())

    @precondition(lambda self: self.engines)
    @rule()
    def the_engine_breaks(self):
        self.broke = self.broke or self.state.state in (EngineState.STARTING, EngineState.READY)
        self.send(EngineBroke("it broke"))

    @rule(closing=st.booleans())
    def a_stop_is_wanted(self, closing):
        self.send(StopWanted("stop", closing))

    @rule()
    def the_closing_is_cancelled(self):
        self.send(CloseCancelled())

    @precondition(lambda self: self.state.state is EngineState.STOPPING)
    @rule()
    def something_of_the_engine_remains(self):
        self.send(EngineRemains("a process"))

    @precondition(lambda self: self.state.state in (EngineState.STOPPING, EngineState.STUCK))
    @rule()
    def the_engine_is_gone(self):
        self.engines = 0
        self.send(EngineGone())
        if self.broke:
            assert self.state.state is EngineState.FAILED

    @invariant()
    def every_request_is_accounted_for(self):
        assert self.state.waiting == self.waiting >= 0
        assert self.state.in_flight == self.admitted >= 0

    @invariant()
    def nobody_waits_for_a_settled_engine(self):
        assert not (self.state.state in SETTLED and self.state.waiting)

    @invariant()
    def an_engine_is_up_exactly_when_the_state_says_so(self):
        assert bool(self.engines) == (self.state.state not in (EngineState.OFF, EngineState.FAILED))

    @invariant()
    def failed_means_that_the_last_run_broke(self):
        assert (self.state.state is not EngineState.FAILED) or (self.broke and self.state.reason == "it broke")

    @invariant()
    def a_closing_daemon_neither_starts_nor_serves(self):
        assert not (self.state.closing and self.state.state in (EngineState.STARTING, EngineState.READY))


TestLives = Lives.TestCase


def test_a_client_that_polls_an_engine_that_cannot_start_counts_as_work_only_at_first():
    now, at = Lifecycle(state=EngineState.OFF, since=0.0, last_work_at=0.0), 0.0
    worked_at = []
    for _ in range(FUTILE_AFTER_FAILURES + 3):
        at = max(at + 1.0, now.retry_at)
        now, _ = step(now, RequestCame(), at)
        now, _ = step(now, EngineBroke("no such model"), at + 1.0)
        now, _ = step(now, EngineGone(), at + 2.0)
        worked_at.append(now.last_work_at)
    assert len(set(worked_at)) == FUTILE_AFTER_FAILURES - 1, "the last ones must not keep the machine up"


def test_requests_count_as_work_again_once_the_engine_has_been_stopped_on_purpose():
    now = Lifecycle(state=EngineState.READY, since=0.0, last_work_at=0.0, failures=FUTILE_AFTER_FAILURES)
    now, _ = step(now, StopWanted("idle"), 5.0)
    now, _ = step(now, EngineGone(), 6.0)
    now, _ = step(now, RequestCame(), 7.0)
    now, _ = step(now, WaiterLeft(), 8.0)
    assert now.last_work_at == 8.0
