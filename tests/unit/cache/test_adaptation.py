"""Connections grow while they help, and promotion buys when the rent has reached the price."""

from __future__ import annotations

import pytest

from vfsoverlay._cache.connections import FIRST, MOST, Connections
from vfsoverlay._cache.promotion import Promotion

MIB = 1024**2


def work(connections: Connections, total: float) -> int:
    """Let 500 GETs share *total* bytes a second, of which one gets at most 50 MB; the number that is reached."""
    for _ in range(500):
        rate = min(50e6, total / connections.limit)
        connections.observe(8 * MIB, 8 * MIB / rate, connections.limit)
    return connections.limit


def test_more_connections_while_each_keeps_its_rate() -> None:
    """On a network that gives each connection its share, the number grows to its ceiling."""
    assert work(Connections(), 1e12) == MOST


def test_no_more_once_they_only_share() -> None:
    """Where the total is bounded, more connections are not kept."""
    assert work(Connections(), 50e6 * FIRST) == FIRST


def test_an_empty_house_tells_nothing() -> None:
    """GETs with few others beside them do not change the number."""
    connections = Connections()
    for _ in range(500):
        connections.observe(8 * MIB, 0.1, 1)
    assert connections.limit == FIRST


def test_the_expected_rate_follows_large_gets() -> None:
    """The rate that promotion reckons with comes from large GETs, not from small ones that are all latency."""
    connections = Connections()
    connections.observe(1000, 0.02, 1)
    assumed = connections.expected_rate()
    for _ in range(50):
        connections.observe(8 * MIB, 8.0, 1)
    assert connections.expected_rate() == pytest.approx(connections.limit * MIB, rel=0.01)
    assert assumed != connections.expected_rate()


@pytest.mark.parametrize(
    ("waited", "ready", "bought"), [(0.0, 50, False), (0.5, 50, False), (0.8, 50, True), (9.0, 9, False)]
)
def test_buying(waited: float, ready: int, bought: bool) -> None:
    """The whole is fetched when readers waited most of what it costs, and enough of its blocks were wanted."""
    promotion = Promotion(lambda _: waited)
    for _ in range(100):
        with promotion:
            pass
    assert promotion.decide(ready=ready, blocks=1000, missing_bytes=100 * MIB, rate=100 * MIB) is bought
    assert not promotion.decide(ready=ready, blocks=1000, missing_bytes=100 * MIB, rate=100 * MIB)


def test_a_few_waits_buy_nothing() -> None:
    """A dozen reads, however slow and however large, do not make the rest of an object worth fetching."""
    promotion = Promotion(lambda _: 1e6)
    for _ in range(12):
        with promotion:
            pass
    assert not promotion.decide(ready=500, blocks=1000, missing_bytes=100 * MIB, rate=100 * MIB)


def test_several_waiters_pay_once() -> None:
    """Time with several readers waiting is counted once, when the last of them goes on."""
    paid: list[float] = []

    def add(seconds: float) -> float:
        paid.append(seconds)
        return sum(paid)

    promotion = Promotion(add)
    with promotion, promotion, promotion:
        pass
    assert len(paid) == 1
