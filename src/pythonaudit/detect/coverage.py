"""Which techniques of ATT&CK rules look for, as a layer of the ATT&CK Navigator."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from pythonaudit.detect.rules import Compiled

_LAYER, _NAVIGATOR = "4.5", "5.1.0"


def build_layer(rules: Iterable[Compiled]) -> dict[str, Any]:
    """A layer: each technique with the number of rules that look for it, and their titles."""
    titles: dict[str, list[str]] = defaultdict(list)
    for rule in rules:
        for technique in rule.head.techniques:
            titles[technique].append(rule.head.title)
    most = max(map(len, titles.values()), default=1)
    return {
        "name": "pythonaudit",
        "description": "Techniques that the rules in force look for; the score is the number of rules",
        "domain": "enterprise-attack",
        "versions": {"layer": _LAYER, "navigator": _NAVIGATOR},
        "gradient": {"colors": ["#ffffff", "#66b1ff"], "minValue": 0, "maxValue": most},
        "techniques": [
            {"techniqueID": technique, "score": len(some), "comment": "; ".join(sorted(some)), "enabled": True}
            for technique, some in sorted(titles.items())
        ],
    }
