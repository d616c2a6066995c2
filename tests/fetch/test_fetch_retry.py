"""When a failed request is sent again, after how long, and when to give up. In virtual time."""

import random
from collections.abc import Callable, Iterator

import anyio
import pytest

from harvester.errors import (
    CredentialsRefused,
    HarvesterError,
    RateLimited,
    SkipRow,
    TooMuchAsked,
    Unavailable,
)
from harvester.fetch.bundles import Batch
from harvester.fetch.retry import RetryBudget, RetryPolicy
from tests.fetch.pool_kit import plan
from tests.fetch.virtual_loop import VirtualLoop

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "asyncio", {"loop_factory": VirtualLoop}


class Script:
    """Raises one error after the other, then answers; remembers when it was asked."""

    def __init__(self, errors: Iterator[HarvesterError] | list[HarvesterError], counts: bool = True) -> None:
        self.asked_at: list[float] = []
        self._errors = iter(errors)
        self._counts = counts

    async def __call__(self, batch: Batch) -> str:
        self.asked_at.append(anyio.current_time())
        error = next(self._errors, None)
        if not isinstance(error, RateLimited):
            batch.spent += self._counts
        if error is not None:
            raise error
        return "answer"

    @property
    def pauses(self) -> list[float]:
        return [later - at for at, later in zip(self.asked_at, self.asked_at[1:], strict=False)]


def policy(
    *, max_attempts: int = 6, broken: Callable[[], bool] = lambda: False, **options: object
) -> RetryPolicy:
    return RetryPolicy(
        max_attempts,
        rng=random.Random(1),
        broken=broken,
        on_retry=options.pop("on_retry", lambda batch, error, wait: None),  # type: ignore[arg-type]
        **options,  # type: ignore[arg-type]
    )


def one_row() -> Batch:
    return Batch(plan(1), [0])


def down(times: int) -> list[HarvesterError]:
    return [Unavailable("503") for _ in range(times)]


async def test_a_refused_request_costs_no_attempt_and_waits_at_the_rate_limiter_only() -> None:
    """A hundred refusals, and it is asked again at once each time."""
    script, batch = Script([RateLimited("429", retry_after=7.0) for _ in range(100)]), one_row()
    assert await policy(max_attempts=1)(script, batch) == "answer"
    assert batch.spent == 1
    assert sum(script.pauses) == 0


async def test_pauses_double_with_jitter() -> None:
    """Between half and all of 0.5, 1, 2, 4 s, and so on up to 30 s."""
    script = Script(down(9))
    await policy(max_attempts=10)(script, one_row())
    for pause, longest in zip(script.pauses, [0.5, 1, 2, 4, 8, 16, 30, 30, 30], strict=True):
        assert longest / 2 <= pause <= longest


async def test_retry_after_is_honoured() -> None:
    """The pause is as long as the server says, where that is longer."""
    script = Script([Unavailable("503", retry_after=20.0)])
    await policy()(script, one_row())
    assert script.pauses == [20.0]


async def test_a_row_is_given_up_after_its_attempts_with_its_last_error() -> None:
    """Six failures, the sixth is raised."""
    errors = down(6)
    script, batch = Script(errors), one_row()
    with pytest.raises(Unavailable) as caught:
        await policy(max_attempts=6)(script, batch)
    assert caught.value is errors[-1]
    assert batch.spent == 6


async def test_a_bundle_is_given_up_sooner_to_be_cut() -> None:
    """Two attempts tell a passing failure from a row that makes it fail; its parts have one."""
    batch = Batch(plan(100), range(100))
    with pytest.raises(Unavailable):
        await policy()(Script(down(2)), batch)
    assert batch.spent == 2
    part = batch.cut()[0]
    with pytest.raises(Unavailable):
        await policy()(Script(down(1)), part)
    assert (part.spent, part.attempts) == (1, 3)


@pytest.mark.parametrize("error", [SkipRow("gone"), TooMuchAsked("413"), CredentialsRefused("401")])
async def test_other_errors_are_not_tried_again(error: HarvesterError) -> None:
    """Asking the same again would not help."""
    script = Script([error])
    with pytest.raises(type(error)):
        await policy()(script, one_row())
    assert len(script.asked_at) == 1


async def test_while_the_breaker_is_open_nothing_is_given_up_and_the_rate_limiter_makes_it_wait() -> None:
    """Failures of trials do not count, however many there are."""
    script, batch = Script(down(50), counts=False), one_row()
    assert await policy(broken=lambda: True)(script, batch) == "answer"
    assert sum(script.pauses) == 0


async def test_each_failure_that_is_tried_again_is_told() -> None:
    """With the batch, the error, and the pause to come; the last failure is not tried again."""
    told: list[tuple[Batch, str, float]] = []
    errors: list[HarvesterError] = [RateLimited("429"), *down(2)]
    batch = one_row()
    with pytest.raises(Unavailable):
        await policy(
            max_attempts=2, on_retry=lambda batch, error, wait: told.append((batch, error.message, wait))
        )(Script(errors), batch)
    assert [(one is batch, message) for one, message, _ in told] == [(True, "429"), (True, "503")]
    assert 0.25 <= told[1][2] <= 0.5


async def test_the_last_attempt_is_known_beforehand() -> None:
    """Of a single row only, and never the first."""
    retry = policy(max_attempts=3)
    assert [retry.is_last(Batch(plan(1), [0], spent=spent)) for spent in range(4)] == [
        False,
        False,
        True,
        False,
    ]
    assert not retry.is_last(Batch(plan(2), [0, 1], spent=2))
    assert not policy(max_attempts=1).is_last(one_row())


async def test_the_retry_budget_holds_retries_to_a_share_of_the_requests() -> None:
    """Half of all requests fail: the retries that may be sent are a tenth of them, and one a second."""
    budget = RetryBudget(share=0.1, floor=1.0, depth=10)
    for _ in range(1000):
        budget.requested()
        budget.requested()
        wait = budget.take(0.0)
    assert wait == pytest.approx(1000 - 10 - 2000 * 0.1, abs=2)


async def test_ten_retries_are_saved_up_and_ten_requests_or_a_second_bring_one_more() -> None:
    """What nobody has set."""
    budget = RetryBudget()
    budget.requested()
    assert [budget.take(5.0) for _ in range(11)] == [0.0] * 10 + [pytest.approx(1.0)]
    for _ in range(20):
        budget.requested()
    assert budget.take(5.0) == pytest.approx(0.0)
    assert budget.take(6.5) == pytest.approx(0.0)
    assert budget.take(6.5) == pytest.approx(0.5)


async def test_the_retry_budget_refills_with_time() -> None:
    """Up to its depth."""
    budget = RetryBudget(share=0.0, floor=1.0, depth=10)
    assert [budget.take(0.0) for _ in range(12)] == [0.0] * 10 + [1.0, 2.0]
    assert [budget.take(1000.0) for _ in range(11)] == [0.0] * 10 + [1.0]


async def test_retries_wait_for_the_budget_and_are_not_given_up() -> None:
    """Where it is empty a retry comes later, as if the server were slower."""
    script = Script(down(1))
    budget = RetryBudget(share=0.0, floor=0.1, depth=0.0)
    assert await policy(budget=budget)(script, one_row()) == "answer"
    assert script.pauses == [10.0]
