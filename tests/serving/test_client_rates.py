"""The number of requests that a client may send."""

import pytest

from wordgaze.serving import client_rates
from wordgaze.serving.client_rates import ClientRates


class Clock:
    """A clock that a test turns."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(client_rates, "time", clock)
    return clock


def test_a_client_may_send_so_many_requests_at_once_and_again_over_a_minute(clock: Clock) -> None:
    rates = ClientRates(60)
    assert [rates.take("10.0.0.1") for _ in range(60)] == [0] * 60
    assert rates.take("10.0.0.1") == 1
    assert rates.take("10.0.0.2") == 0
    clock.now += 1
    assert rates.take("10.0.0.1") == 0
    assert rates.take("10.0.0.1") == 1
    clock.now += 600
    assert [rates.take("10.0.0.1") for _ in range(61)] == [0] * 60 + [1]


def test_a_costly_request_takes_many_and_refused_ones_take_none(clock: Clock) -> None:
    rates = ClientRates(60)
    assert rates.take("a", 1000) == 0
    assert all(rates.take("a") == 1 for _ in range(100))
    clock.now += 1
    assert rates.take("a") == 0


def test_the_addresses_of_one_network_are_one_client(clock: Clock) -> None:
    rates = ClientRates(1)
    assert rates.take("2001:db8::1") == 0
    assert rates.take("2001:db8::ffff") > 0
    assert rates.take("2001:db8:0:1::1") == 0


def test_clients_are_forgotten_and_no_limit_remembers_none(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_rates, "MAX_CLIENTS", 3)
    rates = ClientRates(1)
    for number in range(10):
        assert rates.take(f"client {number}") == 0
    assert len(rates._spent) == 3
    free = ClientRates(0)
    assert [free.take("a") for _ in range(1000)] == [0] * 1000
    assert len(free._spent) == 0
