"""How many requests each client of a server has sent lately: a token bucket per client, in bounded memory."""

import math
import time
from collections import OrderedDict
from ipaddress import IPv6Address, ip_address

MAX_CLIENTS = 10_000
"""Clients that are remembered; those that were heard of longest ago are forgotten."""


class ClientRates:
    """Allows each client ``per_minute`` requests at once, and as many again over each minute; 0 sets no limit.

    Only the thread of the event loop may use it.
    """

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()  # requests, and the time of the last one

    def take(self, client: str, count: int = 1) -> int:
        """Counts ``count`` requests of a client: 0 where it may go on, or else the seconds until it may."""
        if not self.per_minute:
            return 0
        key, now, rate = _network(client), time.monotonic(), self.per_minute / 60
        spent, last = self._spent.pop(key, (0.0, now))
        spent = max(0.0, spent - (now - last) * rate)
        is_allowed = spent + 1 <= self.per_minute
        self._spent[key] = (min(spent + count, self.per_minute) if is_allowed else spent, now)
        while len(self._spent) > MAX_CLIENTS:
            self._spent.popitem(last=False)
        return 0 if is_allowed else max(1, math.ceil((spent - self.per_minute + 1) / rate))


def _network(client: str) -> str:
    """A client's address; of IPv6 the first 64 bits, the rest of which the client chooses."""
    try:
        address = ip_address(client)
    except ValueError:
        return client
    return str(int(address) >> 64) if isinstance(address, IPv6Address) else client
