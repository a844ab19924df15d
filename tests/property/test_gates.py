"""What is asked of every event before the rules are drops no event that matches: with it and without, the same match."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pythonaudit.detect.rules import Rule
from pythonaudit.detect.sql import network_pattern, quote
from pythonaudit.query.addresses import is_within
from pythonaudit.query.connection import open_scratch
from pythonaudit.query.samples import open_samples
from tests.recorded import SEED, SOAK
from tests.sigma_corpus import compile_all, matching, rule_text

RULES, EVENTS = 120 * SOAK, 300
WORDS = (
    *(
        "/",
        "//",
        "/./",
        "/../",
        ".",
        "etc",
        "secret",
        "Secret",
        "SITE-PACKAGES",
        "/dist-packages/",
        ".pth",
        "key.pem",
    ),
    *(
        "é",
        "İstanbul",
        "\u212aelvin",
        "ſecret",
        "日本",
        "a\nsecret",
        "\\",
        '"',
        "'",
        "%",
        "_",
        "[x]",
        "(",
        "^",
        "$",
        "|",
    ),
)
ADDRESSES = (
    *(
        "10.0.0.1",
        "10.1.2.3",
        "198.51.100.7",
        "198.51.101.7%eth0",
        "::ffff:10.1.2.3",
        "fe80::1%eth0",
        "::1",
        "010.0.0.1",
    ),
    *("10.0.0.1\n", "db.example", "secret.example"),
)
NETWORKS = ("10.0.0.0/8", "10.0.0.1/32", "198.51.100.0/23", "0.0.0.0/0", "10.0.0.0/15", "::/0", "fe80::/10")
FIELDS = (
    *("path", "target", "full_path", "full_target", "file.opened", "file.written", "file.removed"),
    *(
        "address",
        "command",
        "module",
        "template",
        "event",
        "child.image",
        "child.command",
        "fields.user",
        "args.0",
    ),
)
EXPRESSIONS = ("secret", "^/etc/.*key", "(?i)SECRET$", "[.]pth$", "a.b", "^$", "\\bkey")
CONDITIONS = ("one", "one and two", "one or two", "one and not two", "not one", "not (one and two)", "1 of *")


def text(random_: random.Random) -> str:
    return "".join(random_.choice(WORDS) for _ in range(random_.randrange(1, 5)))


def event(random_: random.Random, place: int) -> dict[str, Any]:
    name, other = text(random_), text(random_)
    made: dict[str, list[Any]] = {
        "open": [name, random_.choice(("r", "w")), 0],
        "OPEN": [name, "r", 0],
        "os.remove": [name, -1],
        "os.rename": [name, other, -1, -1],
        "socket.connect": [None, [random_.choice(ADDRESSES), 443]],
        "import": [name, other, None, None, None],
        "subprocess.Popen": [name, [name, other], None, None],
        "os.system": [f"{name} | nc {other}"],
        f"said: user={name}": [],
        "shop.paid": [{"user": other}],
    }
    which = random_.choice(list(made))
    found = {
        "event": which,
        "args": made[which],
        "id": f"{1:032x}/0/{place}",
        "cwd": random_.choice(("/srv", name)),
    }
    return {**found, "fields": {"user": other}} if which in ("shop.paid", f"said: user={name}") else found


def texts_of(event: dict[str, Any]) -> list[str]:
    """The texts among the arguments of an event."""
    flat = [item for value in event["args"] for item in (value if isinstance(value, list) else [value])]
    return [item for item in flat if isinstance(item, str) and item] or [event["event"]]


def piece(random_: random.Random, events: Sequence[dict[str, Any]]) -> str:
    """A piece of a text of an event, in some case, sometimes with wildcards."""
    whole = random_.choice(texts_of(random_.choice(events)))
    begin = random_.choice((0, random_.randrange(len(whole))))
    found = whole[begin : random_.choice((len(whole), begin + 8))]
    return (
        random_.choice(("", "", "*"))
        + random_.choice((found, found.lower()))
        + random_.choice(("", "", "*", "?*"))
    )


def line(random_: random.Random, events: Sequence[dict[str, Any]]) -> tuple[str, Any]:
    """One line of a detection."""
    field, kind = random_.choice(FIELDS), random_.random()
    if kind < 0.1:
        return "address|cidr", random_.sample(NETWORKS, random_.randrange(1, 3))
    if kind < 0.2:
        return f"{field}|re", random_.choice(EXPRESSIONS)
    if kind < 0.25:
        return f"{field}|exists", True
    modifier = random_.choice(("", "|contains", "|contains", "|endswith", "|startswith", "|contains|cased"))
    return field + modifier, [piece(random_, events) for _ in range(random_.randrange(1, 6))]


def detection(random_: random.Random, events: Sequence[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"condition": random_.choice(CONDITIONS)}
    for name in ("one", "two"):
        if random_.random() < 0.15:
            found[name] = [piece(random_, events) for _ in range(2)]  # keywords
            continue
        lines = [line(random_, events) for _ in range(random_.choice((1, 1, 2)))]
        if random_.random() < 0.3:
            lines.append(("event", random_.sample(("open", "os.rename", "socket.connect", "import"), 2)))
        found[name] = dict(lines)
    return found


def test_no_match_is_dropped() -> None:
    random_ = random.Random(f"{SEED} gates")
    events = [event(random_, place) for place in range(EVENTS)]
    texts = [rule_text(detection(random_, events), title=f"Rule {place}") for place in range(RULES)]
    rules = [rule for rule in compile_all(texts) if isinstance(rule, Rule)]
    with open_samples(events) as connection:
        expected = matching([replace(rule, gate=None, implied="true") for rule in rules], connection)
        found = matching(rules, connection)
        alone = [matching([rule], connection)[0] for rule in rules[:15]]
    assert found == expected
    assert alone == expected[:15]
    gated = [matches for rule, matches in zip(rules, expected, strict=True) if rule.gate is not None]
    implied = [
        m for rule, m in zip(rules, expected, strict=True) if rule.gate is None and rule.implied != rule.marked
    ]
    # There is something that could have been dropped, and something to drop.
    assert sum(map(bool, gated)) >= 4 and sum(len(matches) < EVENTS / 2 for matches in gated) >= 4
    assert any(implied)


def test_networks_as_expressions() -> None:
    random_ = random.Random(f"{SEED} networks")
    odd = ["1.2.3", "01.2.3.4", "1.2.3.4%x", "1.2.3.4\n", "300.1.1.1", "٣.1.1.1", "", "1.2.3.4.5", " 1.2.3.4", "a"]
    with open_scratch({}) as connection:
        for _ in range(100 * SOAK):
            network = ipaddress.ip_network((random_.getrandbits(32), random_.randrange(33)), strict=False)
            start = int(network.network_address)
            near = [start ^ random_.getrandbits(random_.randrange(33)) for _ in range(20)]
            addresses = [str(ipaddress.IPv4Address(number & 0xFFFFFFFF)) for number in near] + odd
            test = f"regexp_matches(one, {quote(network_pattern(network))})"
            (said,) = connection.execute(f"SELECT [{test} for one in ?]", [addresses]).fetchall()[0]
            assert said == [is_within(address, str(network)) for address in addresses], network
