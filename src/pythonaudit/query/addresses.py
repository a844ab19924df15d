"""Whether an address is of a network, as rules ask.

    >>> is_within("10.1.2.3", "10.0.0.0/8"), is_within("::ffff:10.1.2.3", "10.0.0.0/8"), is_within("web", "10.0.0.0/8")
    (True, True, False)

An IPv4 address that is written as IPv6 is the IPv4 address; the zone of an address (`fe80::1%eth0`) does not count.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@lru_cache(maxsize=100_000)
def is_within(address: str | None, network: str) -> bool:
    """Whether an address is of a network; what is no address is of none.

    Args:
        address: a text.
        network: such as 10.0.0.0/8.
    """
    found = _parse(address) if address else None
    return found is not None and found in _network(network)


@lru_cache(maxsize=10_000)
def _parse(text: str) -> _Address | None:
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


@lru_cache(maxsize=1000)
def _network(text: str) -> _Network:
    return ipaddress.ip_network(text)
