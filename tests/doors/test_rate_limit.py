"""How often strangers may try to log in; by a clock that stands still, on the real store."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import timedelta

import msgspec
import pytest

from doubles import FixedClock
from doubles.clocks import StepBackClock
from doubles.platforms import URL, FakePlatform
from doubles.stores import LaggingStore
from nightingale.adapters.sqlite import SqliteStore
from nightingale.app.dispatch import Request
from nightingale.contract.schemas import LOGIN_NAMESPACE, login_message
from nightingale.domain.errors import RefusedError
from nightingale.hosting.answers import headers_of
from nightingale.ports.store import ConditionFailedError, Store, StoreUnavailableError, Write
from nightingale.services.rate_limit import Bucket, Rate, RateLimiter, source_of

MINE = Bucket("test#192.0.2.1", Rate(3, timedelta(seconds=10)), "from this address")
YOURS = Bucket("test#192.0.2.2", Rate(3, timedelta(seconds=10)), "from this address")
ALL = Bucket("test", Rate(5, timedelta(seconds=1)), "by everybody together")


@pytest.fixture
def limiter(store: SqliteStore, clock: FixedClock) -> RateLimiter:
    return RateLimiter(store, clock)


def taken(limiter: RateLimiter, *buckets: Bucket, most: int = 50) -> int:
    """Return how many tokens there were."""
    for number in range(most):
        try:
            limiter.take("tries", buckets)
        except RefusedError:
            return number
    return most


def test_a_burst_goes_through_and_then_one_for_each_interval(limiter: RateLimiter, clock: FixedClock) -> None:
    assert taken(limiter, MINE) == 3
    clock.advance(9)
    assert taken(limiter, MINE) == 0
    clock.advance(1)
    assert taken(limiter, MINE) == 1
    clock.advance(3600)
    assert taken(limiter, MINE) == 3


def test_a_refusal_says_when_to_try_again(limiter: RateLimiter, clock: FixedClock) -> None:
    taken(limiter, MINE)
    clock.advance(4)
    with pytest.raises(RefusedError) as refused:
        limiter.take("tries", [MINE])
    assert refused.value.code.code == "too_many_requests"
    assert (refused.value.message, refused.value.next_step) == (
        "too many tries from this address",
        "Try again in 6 seconds.",
    )
    clock.advance(6)
    assert taken(limiter, MINE) == 1


def test_who_is_refused_takes_nothing_from_everybody(limiter: RateLimiter) -> None:
    assert taken(limiter, MINE, ALL) == 3
    assert taken(limiter, YOURS, ALL) == 2


def test_when_everybody_is_refused_no_new_item_is_written(limiter: RateLimiter, store: SqliteStore) -> None:
    assert taken(limiter, ALL) == 5
    assert taken(limiter, MINE, ALL) == 0
    assert store.get(MINE.key) is None


def test_what_is_given_back_may_be_taken_again_and_no_more(limiter: RateLimiter) -> None:
    assert taken(limiter, MINE) == 3
    limiter.give_back([MINE])
    assert taken(limiter, MINE) == 1
    for _ in range(10):
        limiter.give_back([MINE])
    assert taken(limiter, MINE) == 3


def test_a_clock_that_steps_back_shuts_nobody_out(store: SqliteStore) -> None:
    clock = StepBackClock()
    limiter = RateLimiter(store, clock)
    taken(limiter, MINE)
    clock.step_back(5 * 3600)
    assert taken(limiter, MINE) == 3


def test_an_item_may_go_when_its_bucket_is_full_again(
    limiter: RateLimiter, store: SqliteStore, clock: FixedClock
) -> None:
    taken(limiter, MINE)
    item = store.get(MINE.key)
    assert item is not None
    assert item.expires_at == clock.now() + timedelta(seconds=31)
    store.delete(item.key, item.version)
    clock.advance(31)
    assert taken(limiter, MINE) == 3


def test_of_many_at_once_no_more_get_through_than_there_are_tokens(store: SqliteStore, clock: FixedClock) -> None:
    limiter = RateLimiter(store, clock)
    barrier = threading.Barrier(12)
    passed: list[int] = []

    def attempt() -> None:
        barrier.wait()
        passed.append(taken(limiter, MINE, ALL))

    threads = [threading.Thread(target=attempt) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= sum(passed) <= 3
    assert sum(passed) + taken(limiter, MINE, ALL) == 3


class ContendedStore(LaggingStore):
    """Somebody else is always first."""

    def transact(self, writes: Sequence[Write]) -> None:
        raise ConditionFailedError(writes[0].key if not hasattr(writes[0], "item") else writes[0].item.key)


class LostStore(LaggingStore):
    """Nothing can be written."""

    def transact(self, writes: Sequence[Write]) -> None:
        raise StoreUnavailableError(f"no answer to {len(writes)} writes")


def test_who_never_gets_a_turn_is_refused(store: SqliteStore, clock: FixedClock) -> None:
    with pytest.raises(RefusedError, match="at the same moment"):
        RateLimiter(ContendedStore(store), clock).take("tries", [MINE])


def test_without_a_store_nobody_gets_through(store: SqliteStore, clock: FixedClock) -> None:
    with pytest.raises(StoreUnavailableError):
        RateLimiter(LostStore(store), clock).take("tries", [MINE])


@pytest.mark.parametrize(
    ("client", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("::ffff:192.0.2.7", "::/64"),
        ("", "unknown"),
        ("x#y", "unknown"),
        ("1" * 5000, "unknown"),
    ],
)
def test_what_is_no_address_makes_no_bucket_of_its_own(client: str, source: str) -> None:
    assert source_of(client) == source


# --- login ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform()


def challenge(platform: FakePlatform, client: str) -> tuple[int, dict[str, str]]:
    answer = platform.dispatcher.handle("create_challenge", Request(client=client))
    return answer.status, msgspec.json.decode(answer.body)


def log_in(platform: FakePlatform, client: str, *, is_good: bool = True) -> tuple[int, dict[str, str]]:
    nonce = platform.services.login.create_challenge(f"10.9.{len(client)}.1").nonce
    signature = platform.signatures.sign(
        platform.signatures.key("ada"), login_message(URL, nonce if is_good else "another"), LOGIN_NAMESPACE
    )
    body = msgspec.json.encode({"nonce": nonce, "server": URL, "signature": signature})
    answer = platform.dispatcher.handle("create_session", Request(body=body, client=client))
    return answer.status, msgspec.json.decode(answer.body)


def test_nonces_are_bounded_for_each_address(platform: FakePlatform) -> None:
    statuses = [challenge(platform, "192.0.2.1")[0] for _ in range(70)]
    assert statuses == [201] * 60 + [429] * 10
    assert challenge(platform, "192.0.2.2")[0] == 201
    refused = challenge(platform, "192.0.2.1")[1]
    assert (refused["code"], refused["next_step"]) == ("too_many_requests", "Try again in 1 second.")
    platform.clock.advance(1)
    assert challenge(platform, "192.0.2.1")[0] == 201


def test_a_caller_who_came_too_often_is_told_in_seconds_when_to_come_again(platform: FakePlatform) -> None:
    for _ in range(20):
        log_in(platform, "192.0.2.1", is_good=False)
    answer = platform.dispatcher.handle("create_challenge", Request(client="192.0.2.2"))
    assert answer.retry_after_s is None
    nonce = platform.services.login.create_challenge().nonce
    body = msgspec.json.encode({"nonce": nonce, "server": URL, "signature": "no signature"})
    refused = platform.dispatcher.handle("create_session", Request(body=body, client="192.0.2.1"))
    assert (refused.status, refused.retry_after_s) == (429, 6)
    assert headers_of(refused)["Retry-After"] == "6"
    assert "Retry-After" not in headers_of(answer)


def test_nonces_are_bounded_for_all_addresses_together(platform: FakePlatform) -> None:
    given = sum(challenge(platform, f"10.0.{n // 250}.{n % 250}")[0] == 201 for n in range(700))
    assert given == 600
    assert "everybody" in challenge(platform, "192.0.2.9")[1]["message"]


def test_refused_logins_of_an_address_are_bounded_and_so_is_what_they_write(platform: FakePlatform) -> None:
    for _ in range(20):
        assert log_in(platform, "192.0.2.1", is_good=False)[0] == 401
    recorded = len(platform.audit.events("platform"))
    assert {log_in(platform, "192.0.2.1", is_good=False)[0] for _ in range(10)} == {429}
    status, error = log_in(platform, "192.0.2.1")
    assert (status, error["next_step"]) == (429, "Try again in 6 seconds.")
    assert len(platform.audit.events("platform")) == recorded
    assert log_in(platform, "192.0.2.2")[0] == 201


def test_good_logins_are_not_counted(platform: FakePlatform) -> None:
    for _ in range(30):
        platform.clock.advance(1)
        assert log_in(platform, "192.0.2.1")[0] == 201


def test_a_login_that_is_turned_away_for_its_number_may_use_its_nonce_later(platform: FakePlatform) -> None:
    for _ in range(20):
        log_in(platform, "192.0.2.1", is_good=False)
    nonce = platform.services.login.create_challenge().nonce
    signature = platform.signatures.sign(platform.signatures.key("ada"), login_message(URL, nonce), LOGIN_NAMESPACE)
    request = Request(
        body=msgspec.json.encode({"nonce": nonce, "server": URL, "signature": signature}), client="192.0.2.1"
    )
    assert platform.dispatcher.handle("create_session", request).status == 429
    platform.clock.advance(6)
    assert platform.dispatcher.handle("create_session", request).status == 201


def test_a_limit_needs_a_store(store: SqliteStore) -> None:
    whole: Store = store
    platform = FakePlatform(store=whole)
    lost = FakePlatform(store=LostStoreAfterwards(platform.store))
    assert challenge(lost, "192.0.2.1")[1]["code"] == "unavailable"


class LostStoreAfterwards(LaggingStore):
    """What makes a platform can be written, a limit cannot."""

    def transact(self, writes: Sequence[Write]) -> None:
        if any("LIMIT" in repr(write) for write in writes):
            raise StoreUnavailableError("no answer")
        super().transact(writes)
