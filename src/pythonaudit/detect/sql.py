"""Pieces of SQL, as text: what backend, scan and correlations write alike. Nothing of Sigma.

>>> join("OR", ["a", "b", "c"]), quote("it's", is_cased=False)
('((a OR b) OR c)', "'it''s'")
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

TRUE, FALSE = "true", "false"
#: Around an expression that other rules may need of the same event: scan.py computes it once.
SHARED = "\x01"

# What no literal can have, or is a mark of ours.
_SPLIT = re.compile("([\x00-\x02])")
_NUMBER = "[-+]?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]+)?"

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"


class Refused(Exception):
    """What cannot be expressed.

    Args:
        reason: why.
        field: which field it was asked of, if it was.
    """

    def __init__(self, reason: str, field: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.field = reason, field  # pySigma adds words of its own to what is raised


def join(operator: str, parts: Sequence[str]) -> str:
    """Expressions with AND or OR between them, in pairs of pairs: depth is what the parser has least of."""
    if not parts:
        raise Refused("nothing is asked for")
    found = list(parts)
    while len(found) > 1:
        pairs = (found[at : at + 2] for at in range(0, len(found), 2))
        found = [f"({f' {operator} '.join(pair)})" if len(pair) > 1 else pair[0] for pair in pairs]
    return found[0]


def quote(text: str, is_cased: bool = True) -> str:
    """A text as a literal of SQL, lowered as the database does it unless its case counts."""
    if not is_cased and text.isascii():
        return quote(text.lower())
    pieces = _SPLIT.split(text)  # the odd ones are what no literal can have, or is a mark of ours
    written = [
        f"chr({ord(piece)})" if at % 2 else "'" + piece.replace("'", "''") + "'" for at, piece in enumerate(pieces)
    ]
    found = written[0] if len(written) == 1 else f"({' || '.join(written)})"
    return found if is_cased else f"lower({found})"


def number_of(text: str) -> str:
    """The number that is written in a text; null: none is."""
    return f"CASE WHEN regexp_full_match({text}, '{_NUMBER}') THEN TRY_CAST({text} AS DOUBLE) END"


def network_pattern(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> str:
    """A regular expression of RE2 that is found in the IPv4 addresses of a network, with a zone or without, and in no
    other text that has no colon; empty: the network has no such addresses.

    >>> network_pattern(ipaddress.ip_network("198.51.100.0/23"))
    '^198[.]51[.](?:100|101)[.](?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(?:%|$)'
    """
    if isinstance(network, ipaddress.IPv6Network):
        return ""
    octets = []
    for at, first in enumerate(network.network_address.packed):
        free = 8 - min(max(network.prefixlen - 8 * at, 0), 8)
        some = "|".join(str(octet) for octet in range(first, first + (1 << free)))
        octets.append(_OCTET if free == 8 else f"(?:{some})" if free else some)
    return f"^{'[.]'.join(octets)}(?:%|$)"
