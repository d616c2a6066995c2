"""The controller's rules, one at a time."""

import random
from collections.abc import Callable
from itertools import count, islice
from typing import Any

import pytest

from harvester.errors import CannotFinishNow
from harvester.fetch.rate.admitted import LITTLE, MUCH, AdmittedRate
from harvester.fetch.rate.breaker import Breaker
from harvester.fetch.rate.concurrency import ConcurrencyLimit
from harvester.fetch.rate.controller import RateController, Ticket
from harvester.fetch.rate.request_rate import RequestRate
from tests.fetch.virtual import Outage, TokenBucket, Unlimited, simulate


def controller(**options: float) -> RateController:
    return RateController(rng=random.Random(1), **options)


def send(controller: RateController, now: float) -> tuple[Ticket, float]:
    """Sends one request as soon as the controller allows it; the ticket and the time."""
    delay = controller.wait(now)
    while delay:
        now += delay
        delay = controller.wait(now)
    assert delay == 0
    return controller.sent(now), now


def sent_up_to(controller: RateController, now: float, end: float) -> list[Ticket]:
    tickets = []
    while (delay := controller.wait(now)) is not None and now + delay < end:
        now += delay
        tickets.append(controller.sent(now))
    return tickets


def test_a_retry_after_holds_back_everybody() -> None:
    """Nothing is sent before the time that a refusal named, and requests leave after it."""
    subject = controller(concurrency=8)
    first, now = send(subject, 0.0)
    second, now = send(subject, now)
    subject.succeeded(first, 0.1)
    subject.refused(second, 0.2, retry_after=7.0)
    _, left = send(subject, 0.2)
    assert 7.2 <= left < 7.6


def test_a_shorter_retry_after_does_not_shorten_a_longer_one() -> None:
    """The longest of several pauses counts."""
    subject = controller(concurrency=8)
    first, now = send(subject, 0.0)
    second, _ = send(subject, now)
    subject.refused(first, 0.2, retry_after=7.0)
    subject.refused(second, 0.3, retry_after=1.0)
    assert send(subject, 0.3)[1] >= 7.2


@pytest.mark.parametrize("outcome", ["refused", "failed"])
def test_a_pause_beyond_the_cap_ends_the_run(outcome: str) -> None:
    """A server that wants an hour is not waited for; the request counts as returned all the same."""
    subject = controller(concurrency=1, retry_after_cap=60.0)
    ticket, _ = send(subject, 0.0)
    with pytest.raises(CannotFinishNow, match="3600 s"):
        getattr(subject, outcome)(ticket, 1.0, 3600.0)
    assert subject.wait(1.0) is not None
    ticket, now = send(subject, 1.0)
    getattr(subject, outcome)(ticket, now, 60.0)
    assert subject.wait(now) == 60.0


def test_a_failure_with_retry_after_holds_back_everybody() -> None:
    """503 with Retry-After pauses like 429 does."""
    subject = controller(concurrency=8)
    ticket, _ = send(subject, 0.0)
    subject.failed(ticket, 0.5, 5.0)
    assert send(subject, 0.5)[1] >= 5.5


def refused_once() -> tuple[RateController, list[Ticket]]:
    """A controller that has just met its first refusal, and the three requests sent after that one."""
    subject = controller(concurrency=64)
    *answered, refused, one, two, three = sent_up_to(subject, 0.0, 2.0)
    for ticket in answered:
        subject.succeeded(ticket, 2.0)
    subject.refused(refused, 2.0, None)
    return subject, [one, two, three]


def test_a_round_trip_of_refusals_is_reacted_to_once() -> None:
    """Refusals of requests that were sent before the pace was cut do not cut it again."""
    subject, others = refused_once()
    rate = subject.rate
    for ticket in others:
        subject.refused(ticket, 2.01, None)
    assert subject.rate == rate


def test_places_of_refused_requests_stay_empty() -> None:
    """Whatever is refused with the first one delays the next by its own place, as what is under way is."""
    subject, others = refused_once()
    first = subject.wait(2.0)
    for ticket in others:
        subject.refused(ticket, 2.0, None)
    last = subject.wait(2.0)
    assert first is not None
    assert last is not None
    assert last - first == pytest.approx(3 * 0.985 / subject.rate, rel=0.01)


@pytest.mark.parametrize("saved", [LITTLE, MUCH])
def test_what_a_server_saves_up_in_a_pause_is_learned(saved: float) -> None:
    """From measures after pauses of a second: they are right soon, whichever kind of server it is."""
    admitted = AdmittedRate()
    at, last = 0.0, 0
    for span in (4.0, 9.0, 6.0, 15.0):
        admitted.count_from(last, at)
        admitted.shut(at + 0.2, at + 1.2)
        sent = round(50 * (span - (1.0 - saved)))
        for ticket in range(last + 1, last + sent + 1):
            admitted.answered(ticket, ok=True)
        at, last = at + span, last + sent
        admitted.learn(last, at, 50.0)
        measured = admitted.up_to(last, at)
    assert admitted.saved == saved
    assert measured == pytest.approx((15.0, 50.0), rel=0.01)


class PausedServer:
    """Measures of a limit of 50, each with a pause of a second, of which the server saves up a part."""

    def __init__(self) -> None:
        self.admitted = AdmittedRate()
        self._at, self._last = 0.0, 0

    def learns(self, saved: float, span: float) -> float:
        """What the server is taken to save up after one more measure over `span` seconds."""
        self.admitted.count_from(self._last, self._at)
        self.admitted.shut(self._at, self._at + 1.0)
        self._at, self._last = self._at + span, self._last + round(50 * (span - (1.0 - saved)))
        self.admitted.learn(self._last, self._at, 50.0)
        return self.admitted.saved


def test_one_odd_measure_does_not_change_what_is_known_of_pauses() -> None:
    """That much is saved up needs two opposite measures once it is confirmed; that little is, one."""
    server = PausedServer()
    for _ in range(3):
        assert server.learns(MUCH, 4.0) == MUCH
        server.learns(MUCH, 8.0)
    learnt = [server.learns(LITTLE, span) for span in (4.0, 8.0, 4.0, 8.0)]
    assert learnt == [MUCH, LITTLE, LITTLE, LITTLE]


def test_a_pause_that_hardly_matters_for_the_measure_says_nothing() -> None:
    """A second in a hundred: both assumptions fit within two in a hundred."""
    server = PausedServer()
    assert [server.learns(LITTLE, span) for span in (100.0, 200.0, 47.0)] == [MUCH] * 3
    assert server.learns(LITTLE, 40.0) == MUCH
    assert server.learns(LITTLE, 4.0) == LITTLE


def test_early_refusals_and_long_pauses_leave_something_to_measure() -> None:
    """Two admissions are added to those counted, and a fifth of the time counts however long the pauses."""
    admitted = AdmittedRate()
    assert admitted.up_to(5, 10.0) == (0.0, 0.0)
    admitted.sent(10.0)
    admitted.sent(11.0)
    for number in (1, 2, 3):
        admitted.answered(number, ok=False)
    assert admitted.nothing
    assert admitted.up_to(5, 12.0) == pytest.approx((2.0, 5 * 2 / 5 / 2.0))
    admitted.shut(10.0, 12.0)
    assert admitted.up_to(5, 12.0) == pytest.approx((2.0, 2 / (2.0 - (2.0 - MUCH))))
    admitted.shut(12.0, 30.0)
    assert admitted.up_to(5, 30.0) == pytest.approx((20.0, 2 / 4.0))
    admitted.answered(4, ok=True)
    assert not admitted.nothing


def test_a_pause_that_several_refusals_ask_for_counts_once() -> None:
    """Pauses that overlap are one, and one that began after the count did belongs to it."""
    admitted = AdmittedRate()
    admitted.count_from(0, 10.0)
    admitted.shut(10.2, 14.2)
    admitted.shut(10.4, 14.4)
    admitted.count_from(0, 10.1)
    assert admitted.up_to(100, 20.1) == pytest.approx((10.0, 100 / (10.0 - (4.2 - MUCH))))


@pytest.mark.parametrize("rate", [0.5, 7.0, 300.0])
def test_a_given_rate_is_never_passed(rate: float) -> None:
    """From any request on, never more leave than the rate and the time of one late timer allow."""
    subject = controller(max_rps=rate, concurrency=64)
    (log,) = simulate([subject], Unlimited(), seconds=40, rng=random.Random(2))
    for index, start in enumerate(log.sent):
        later = log.sent[-1]
        assert len(log.sent) - index <= rate * (later - start + 0.02) + 1 + 1e-6
    assert len(log.sent) >= 0.9 * min(rate, 64 / 0.26) * 40 - 20


def test_the_breaker_opens_sends_single_trials_and_resumes_at_half_the_pace() -> None:
    """Seven failures open it; pauses grow; one trial at a time; an answer closes it."""
    subject = controller(concurrency=64)
    answered, now = send(subject, 0.0)
    subject.succeeded(answered, now + 0.1)
    tickets = sent_up_to(subject, now + 0.1, 3.0)
    assert len(tickets) == 8
    rate = subject.rate
    for ticket in tickets[:7]:
        assert not subject.broken
        subject.failed(ticket, 3.1)
    assert subject.broken
    now, pauses = 3.1, []
    for _ in range(6):
        trial, left = send(subject, now)
        assert trial.trial
        assert subject.wait(left) is None
        pauses.append(left - now)
        now = left + 0.1
        subject.failed(trial, now)
    assert all(0.75 * full <= pause <= full for pause, full in zip(pauses, [1, 2, 4, 8, 8, 8], strict=True))
    trial, left = send(subject, now)
    subject.succeeded(trial, left + 0.1)
    assert not subject.broken
    assert subject.rate == pytest.approx(rate / 2)


@pytest.mark.parametrize(
    ("failed", "answered", "more"),
    [
        ([5], 4, 6),  # it may have been answered before the server went down
        ([5], 5, 6),
        ([5], 6, 7),  # it was sent later
        ([5, 9, 7], 6, 7),
        ([5, 9, 7], 4, 4),
        ([5, 9, 7], 20, 7),
    ],
)
def test_only_an_answer_to_a_request_after_the_first_failure_says_that_the_server_is_up(
    failed: list[int], answered: int, more: int
) -> None:
    """Seven failures in a row open the breaker: so many more are needed after that answer."""
    subject = Breaker(random.Random(1))
    for ticket in failed:
        subject.failed(ticket, 1.0, trial=False)
    assert not subject.answered(answered, trial=False)
    for ticket in range(100, 100 + more):
        assert not subject.open
        subject.failed(ticket, 1.0, trial=False)
    assert subject.open
    assert not subject.answered(200, trial=False), "only a trial closes it"
    assert subject.open


def test_a_breaker_that_closed_starts_with_short_pauses_again() -> None:
    """And failures of requests that were sent before it opened do not open it twice."""
    subject = Breaker(random.Random(1))
    for _ in range(2):
        for ticket in range(7):
            subject.failed(ticket, 0.0, trial=False)
        wait = subject.wait(0.0)
        assert wait is not None
        assert 0.75 <= wait <= 1.0
        subject.failed(8, 0.5, trial=False)
        assert subject.wait(0.0) == wait
        assert subject.sent()
        assert subject.answered(9, trial=True)
        assert not subject.sent()


def test_after_an_outage_a_limit_that_is_known_is_gone_up_to_again() -> None:
    """From half of it, so that a server that has just come back is not met with all there is."""
    for seed in range(5):
        subject = controller(max_concurrency=64)
        server = Outage(TokenBucket(50, 50), 30, 40)
        (log,) = simulate([subject], server, seconds=60, rng=random.Random(seed))
        back = min(at for at in log.ok if at > 40) + 0.4  # by then the answer has come
        assert log.used(50, back, back + 0.5) < 0.8
        assert log.used(50, back + 4, back + 12) > 0.95


def test_a_cancelled_trial_makes_way_for_the_next() -> None:
    """A trial that nobody waits for any more does not keep the breaker shut for ever."""
    subject = controller(concurrency=64)
    for ticket in sent_up_to(subject, 0.0, 1.0):
        subject.failed(ticket, 1.0)
    trial, now = send(subject, 1.0)
    assert subject.wait(now) is None
    subject.cancelled(trial, now)
    assert send(subject, now)[1] < now + 1


def test_failures_do_not_change_the_pace() -> None:
    """Single failures are no rate signal."""
    subject = controller(concurrency=64)
    ticket, now = send(subject, 0.0)
    rate = subject.rate
    subject.failed(ticket, now + 0.1)
    assert subject.rate == rate
    assert not subject.broken


def test_no_more_are_in_flight_than_asked_for() -> None:
    """With two allowed the third waits, without a time, until one returns."""
    subject = controller(concurrency=2)
    first, now = send(subject, 0.0)
    _, now = send(subject, now)
    assert subject.wait(now + 10) is None
    subject.cancelled(first, now)
    assert subject.wait(now + 10) == 0


def test_an_unlimited_server_gets_all_that_may_be_in_flight() -> None:
    """Without a number given, the limit grows to the most while latency stays."""
    subject = controller(max_concurrency=200)
    simulate([subject], Unlimited(), seconds=30, rng=random.Random(3))
    assert subject.limit_in_flight == 200


def test_bundles_of_other_sizes_do_not_look_like_a_slower_server() -> None:
    """Latency is compared among bundles of like size only."""
    limit = ConcurrencyLimit(64)
    for index in range(2000):
        weight = 1 if index < 1000 else 100
        limit.admits(64)
        limit.succeeded(0.1 * weight, weight, index + 1, index + 2)
    assert limit.limit == 64


# The latency and the rows of one answer after the other.
Answers = Callable[[int], tuple[float, int]]


def growing(index: int) -> tuple[float, int]:
    rows = 2 ** min(index // 8, 8)
    return 0.1 + 0.0015 * rows, rows


ANSWERS: dict[str, Answers] = {
    "single rows, then bundles that take longer": lambda index: (0.1, 1) if index < 8 else (0.3, 60),
    "bundles that grow, and take longer for it": growing,
    "one out of a cache": lambda index: (0.02 if index == 3 else 0.1, 1),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_a_server_that_bears_more_gets_more_whatever_came_first(answer: Answers) -> None:
    """Nothing of the first answers keeps the limit down for long."""
    limit = ConcurrencyLimit(256)
    for index in range(3000):
        limit.admits(256)
        limit.succeeded(*answer(index), index + 1, index + 2)
    assert limit.limit == 256


def test_a_limit_follows_the_latency_as_soon_as_two_dozen_answers_tell_it() -> None:
    """Half as slow again is too slow, a quarter is no reason to grow; a cut that did not help is undone."""
    limit, numbers = ConcurrencyLimit(64), count(1)

    def after(answers: int, took: float, *, binding: bool = True) -> float:
        for number in islice(numbers, answers):
            limit.admits(64 if binding else 0)
            limit.succeeded(took, 1, number, number + 1)
        return limit.limit

    assert after(24, 0.010, binding=False) == 8
    assert after(24, 0.013, binding=False) == 8, "the start is over, at the first sign of load"
    assert after(23, 0.010) == 8
    assert after(1, 0.010) == pytest.approx(8.9)
    assert after(24, 0.0124) == pytest.approx(9.89)
    assert after(24, 0.0126) == pytest.approx(9.89)
    assert after(24, 0.010, binding=False) == pytest.approx(9.89)
    assert after(24, 0.0149) == pytest.approx(9.89)
    assert after(24, 0.0151) == pytest.approx(9.89 * 0.8)
    assert after(24, 0.0130) == pytest.approx(9.89 * 0.8), "the cut has helped"
    assert after(24, 0.016) == pytest.approx(9.89 * 0.64)
    assert after(24, 0.0145) == pytest.approx(9.89 * 0.8), "it has not: this is the server's own latency now"
    assert after(24, 0.0145) == pytest.approx(9.89 * 0.88 + 0.1)


def test_answers_to_requests_of_an_earlier_limit_are_not_judged() -> None:
    """They were sent when more, or fewer, were in flight."""
    limit, late = ConcurrencyLimit(64), 0.1
    for number in range(1, 25):
        limit.succeeded(0.010, 1, number, 40)
    for _ in range(24):
        limit.succeeded(late, 1, 39, 41)
    assert limit.limit == 8
    for _ in range(24):
        limit.succeeded(late, 1, 40, 41)
    assert limit.limit == pytest.approx(6.4)


def test_however_slow_the_server_two_requests_are_in_flight() -> None:
    """With one alone, the latency says nothing of the load."""
    limit, numbers = ConcurrencyLimit(64), count(1)
    for took in (0.01, 0.1, 0.01, 0.1) * 20:
        for number in islice(numbers, 24):
            limit.succeeded(took, 1, number, number + 1)
    assert limit.limit == 2


def test_at_the_start_answers_that_wait_for_each_other_do_not_raise_the_limit() -> None:
    """One that takes twice as long as the fastest; nor does any answer, while nothing was held back."""
    limit = ConcurrencyLimit(64)
    limit.succeeded(0.010, 1, 1, 2)
    assert limit.limit == 8
    limit.admits(7)
    limit.succeeded(0.010, 1, 2, 3)
    assert limit.limit == 8
    limit.admits(8)
    limit.succeeded(0.010, 1, 3, 4)
    assert limit.limit == pytest.approx(8.35)
    limit.succeeded(0.020, 1, 4, 5)
    assert limit.limit == pytest.approx(8.35)
    limit.succeeded(0.019, 1, 5, 6)
    assert limit.limit == pytest.approx(8.7)


def test_a_process_without_cpu_to_spare_keeps_few_in_flight() -> None:
    """Whatever the latency; once there is some to spare, the limit grows again."""
    cores, numbers = 0.5, count()
    limit = ConcurrencyLimit(64, lambda: cores)

    def after(answers: int) -> float:
        for index in islice(numbers, answers):
            limit.admits(64)
            limit.succeeded(0.1, 1, index + 1, index + 2)
        return limit.limit

    assert after(100) > 16
    cores = 1.0
    assert after(200) == 4
    cores = 0.5
    assert after(2000) == 64


def test_refusals_cost_no_place_in_flight_and_the_rate_recovers() -> None:
    """After refusals a server whose limit is gone is asked faster again."""
    subject = controller(concurrency=64)
    changes = [(20.0, 200.0)]
    (log,) = simulate([subject], TokenBucket(20, 20, changes=changes), seconds=60, rng=random.Random(4))
    assert log.refused
    assert log.used(200, 50, 60) >= 0.55


# -- the request rate and its measure, by the rules of docs/rate-control.md --------------------------------


class Traffic:
    """Requests to a request rate that come when the test says so; each is answered after 100 ms."""

    def __init__(self, **options: Any) -> None:
        self.subject = RequestRate(None, **options)
        self.now = 0.0
        self._numbers = count(1)

    def ticket(self) -> Ticket:
        ticket = Ticket(next(self._numbers), self.now, self.subject.epoch, False)
        self.subject.sent(ticket)
        return ticket

    def answered(self, requests: int, every: float) -> None:
        for _ in range(requests):
            self.subject.succeeded(self.ticket(), self.now + 0.1)
            self.now += every

    def refused(self) -> None:
        self.subject.refused(self.ticket(), self.now + 0.1)

    def measured(self, requests: int, seconds: float) -> float:
        """Sends so many requests in a time, the last of which is refused; the rate that was admitted."""
        self.answered(requests - 1, seconds / (requests - 1))
        self.refused()
        # Two admissions are added to those that were counted.
        return requests * (requests + 1) / (requests + 2) / seconds

    def growth(self, requests: int = 10) -> float:
        """What each request that leaves on time adds to the rate."""
        before = self.subject.rate
        for _ in range(requests):
            self.now += self.subject.wait(self.now)
            self.answered(1, 0.0)
        return (self.subject.rate - before) / requests


def known_for(seconds: float, limit: float = 50) -> Traffic:
    """Traffic whose limit has been measured for some seconds, and was met just now."""
    traffic = Traffic()
    traffic.measured(101, 100 / limit)
    traffic.now += 1 / limit
    traffic.measured(round(seconds * limit), seconds - 1 / limit)
    return traffic


def test_the_first_refusal_measures_the_limit_and_makes_room_for_those_under_way() -> None:
    """The rate is 1.5 % below it; two requests, and a quarter of those in flight, are waited for."""
    traffic = Traffic()
    traffic.answered(100, 0.02)
    rate = traffic.subject.rate
    traffic.refused()
    assert traffic.subject.limit == pytest.approx(101 * 102 / 103 / 2.0)
    assert traffic.subject.rate == pytest.approx(0.985 * 101 * 102 / 103 / 2.0)
    in_flight = rate * 0.1
    assert traffic.subject.wait(2.08) == pytest.approx((2 + 0.25 * in_flight) / rate)


@pytest.mark.parametrize(("known", "climb"), [(0.0, 1.0), (2.0, 4.0), (20.0, 9.0)])
def test_the_rate_climbs_as_far_above_the_limit_as_it_began_below(known: float, climb: float) -> None:
    """In 0.18 s for each request a second of the limit, or twice the time for which that is known."""
    traffic = known_for(known) if known else Traffic()
    if not known:
        traffic.measured(101, 2.0)
    assert traffic.growth() == pytest.approx(0.03 / climb, rel=0.03)


@pytest.mark.parametrize(("pause", "climb"), [(1.1, 9.0), (1.5, 25.0), (9.0, 80.0)])
def test_the_more_a_pause_costs_the_slower_the_rate_climbs(pause: float, climb: float) -> None:
    """50 s for each second beyond the one that the server saves up; at most twice what is known."""
    traffic = known_for(40.0)
    traffic.subject.shut(traffic.now, traffic.now + pause)
    traffic.now += pause
    traffic.answered(95, 0.01)  # the saved budget is used up
    assert traffic.subject.rate > 0.985 * 50
    rates = []
    for _ in range(20):
        traffic.answered(1, 0.0201)
        rates.append(traffic.subject.rate)
    assert (rates[-1] - rates[0]) / 19 == pytest.approx(0.03 / climb, rel=0.05)


def test_what_the_server_saved_in_a_pause_is_used_at_a_higher_rate() -> None:
    """By 0.3 of the limit for each second, of which a tenth is left."""
    traffic = known_for(40.0)
    limit = traffic.subject.limit or 0.0
    traffic.subject.shut(traffic.now, traffic.now + 3.0)
    traffic.now += 3.0
    traffic.answered(1, 0.0)
    assert traffic.subject.rate == pytest.approx(limit * (0.985 + 0.3 * 0.9), rel=0.001)


@pytest.mark.parametrize(("fewer", "alone"), [(1, False), (2, True)])
def test_measures_that_agree_are_one_and_of_those_that_do_not_the_new_one_counts(
    fewer: int, alone: bool
) -> None:
    """They agree within two requests, and a quarter of those in flight; each counts by its time."""
    traffic = known_for(10.0)
    before = traffic.subject.limit or 0.0
    requests = round(4 * before) - fewer
    last = traffic.now
    traffic.now += 1 / before
    measured = traffic.measured(requests, 4.0) * 4.0 / (traffic.now - last)
    expected = measured if alone else before + 4 / 14 * (measured - before)
    assert traffic.subject.limit == pytest.approx(expected, rel=0.0005)


def test_a_limit_that_rose_late_is_not_taken_for_the_mean_of_all_that_was_sent() -> None:
    """54 a second in the mean, 75 at the end: 0.9 s of budget overdrawn make the second two thirds true."""
    traffic = known_for(10.0)
    traffic.now += 0.2
    traffic.answered(500, 0.02)
    traffic.measured(150, 2.0)
    assert traffic.subject.limit == pytest.approx(67.5, rel=0.005)


def test_a_window_that_is_used_up_is_looked_for_by_single_requests() -> None:
    """At half the rate each time, down to one in four seconds; an answer brings back the whole rate."""
    traffic = known_for(10.0)
    limit, waits = traffic.subject.limit or 0.0, []
    for _ in range(8):
        traffic.now += max(traffic.subject.wait(traffic.now), 0.0)
        traffic.refused()
        waits.append(round(traffic.subject.wait(traffic.now + 0.1), 3))
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 4.0, 4.0]
    assert traffic.subject.limit == limit
    traffic.now += 4.1
    traffic.answered(1, 0.1)
    assert traffic.subject.rate == pytest.approx(0.985 * limit)
    assert traffic.subject.wait(traffic.now) == pytest.approx(1 / traffic.subject.rate)


@pytest.mark.parametrize(
    ("latency", "rate", "growth", "told"),
    [(0.01, 80, 2, 7), (0.05, 80, 2, 7), (0.1, 40, 1, 3.5), (0.4, 20, 0.25, 0.875)],
)
def test_the_first_answer_tells_how_fast_to_begin(
    latency: float, rate: float, growth: float, told: float
) -> None:
    """Four requests in a round trip, of 50 ms at least; for each that leaves on time a tenth of one more.

    Where the user has set the concurrency, 0.35 more.
    """
    for options, more in (({}, growth), ({"told": True}, told)):
        traffic = Traffic(**options)
        assert traffic.subject.rate == 20
        first = traffic.ticket()
        assert traffic.subject.wait(0.0) == pytest.approx(0.05 - 0.02), "20 ms may be made up for"
        traffic.ticket()
        assert traffic.subject.rate == 20, "nothing is known of the latency yet"
        traffic.subject.succeeded(first, latency)
        assert traffic.subject.rate == rate
        traffic.now = latency + traffic.subject.wait(latency)
        assert traffic.now <= latency + 1 / rate + 0.05
        traffic.ticket()
        assert traffic.subject.rate == pytest.approx(rate + more)
        traffic.now += 10
        traffic.ticket()
        assert traffic.subject.rate == pytest.approx(rate + more), "it left late: there is no more to send"


def test_the_latency_is_a_mean_of_the_last_answers() -> None:
    """Each counts for a tenth: the growth of the rate follows it."""
    traffic = Traffic()
    first, second = traffic.ticket(), traffic.ticket()
    traffic.subject.succeeded(first, 0.1)
    traffic.subject.succeeded(second, 0.2)
    before = traffic.subject.rate
    traffic.now = 0.09
    traffic.ticket()
    assert traffic.subject.rate - before == pytest.approx(0.1 / 0.11)
