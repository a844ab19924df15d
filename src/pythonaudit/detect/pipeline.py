"""Which log sources rules may ask for, and what their fields are in our events: a pipeline of pySigma.

- `product: python, service: audit` is ours (fields.py).
- SigmaHQ's rules for Linux about new processes, connections and files are asked of the events that show the same:
  `Image` is the new program, not the Python that starts it, which is `ParentImage`.

Whoever converts our rules with another backend puts a pipeline of his own in this one's place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sigma.processing.conditions import LogsourceCondition
from sigma.processing.pipeline import ProcessingItem, ProcessingPipeline
from sigma.processing.transformations import (
    AddConditionTransformation,
    FieldMappingTransformation,
    ValueListPlaceholderTransformation,
)
from sigma.rule import SigmaLogSource, SigmaRule

from pythonaudit.detect import fields
from pythonaudit.query.children import EVENTS as STARTING

PRODUCT, SERVICE = "python", "audit"


@dataclass(frozen=True, slots=True)
class Foreign:
    """A log source of somebody else.

    Attributes:
        events: names of the events that show the same.
        fields: ours, by theirs.
    """

    events: Sequence[str]
    fields: Mapping[str, str]


_WHO = {"User": "user", "ProcessName": "exe", "ParentUser": "user"}
_FILES = {"Image": "exe", **_WHO}

#: By category; the product is linux, or none is said.
FOREIGN: Mapping[str, Foreign] = {
    "process_creation": Foreign(
        STARTING,
        {
            "Image": "child.image",
            "CommandLine": "child.command",
            "ParentImage": "exe",
            "ParentCommandLine": "argv",
            "ParentProcessId": "pid",
            "CurrentDirectory": "cwd",
            **_WHO,
        },
    ),
    "network_connection": Foreign(
        fields.CONNECTING,
        {
            "Image": "exe",
            "CommandLine": "argv",
            "DestinationIp": "address",
            "DestinationHostname": "address",
            "DestinationPort": "port",
            "ProcessId": "pid",
            **_WHO,
        },
    ),
    "file_event": Foreign(fields.WRITING, {"TargetFilename": "file.written", "ProcessId": "pid", **_FILES}),
    "file_change": Foreign(fields.WRITING, {"TargetFilename": "file.written", "ProcessId": "pid", **_FILES}),
    "file_access": Foreign(
        ("open",), {"TargetFilename": "file.opened", "FileName": "file.opened", "ProcessId": "pid", **_FILES}
    ),
    "file_delete": Foreign(fields.REMOVING, {"TargetFilename": "file.removed", "ProcessId": "pid", **_FILES}),
}


def build_pipeline(placeholders: Mapping[str, Sequence[str]]) -> ProcessingPipeline:
    """What is done to rules before they are converted.

    Args:
        placeholders: what `%name%` stands for in values with `expand`.
    """
    items = []
    for category, foreign in FOREIGN.items():
        added = AddConditionTransformation({"event|cased": list(foreign.events)}, name="_events")
        names: dict[str | None, str | list[str]] = dict(foreign.fields.items())
        for what in (FieldMappingTransformation(names), added):
            items.append(ProcessingItem(what, rule_conditions=[LogsourceCondition(category=category)]))
    used = list(placeholders)
    if used:
        items.append(ProcessingItem(ValueListPlaceholderTransformation(include=used)))
    return ProcessingPipeline(
        name="pythonaudit", items=items, vars={name: list(values) for name, values in placeholders.items()}
    )


def why_not(rule: SigmaRule) -> str | None:
    """Why a rule cannot be asked of our events; None: it can.

    A field of a foreign log source that nothing of ours shows is such a reason: a condition that can never hold, or
    whose contrary always does, would look like an answer.
    """
    source: SigmaLogSource = rule.logsource
    if source.product == PRODUCT and source.service == SERVICE and source.category is None:
        return None
    said = ", ".join(
        f"{key}: {value}"
        for key, value in (("product", source.product), ("category", source.category), ("service", source.service))
        if value
    )
    if source.category in FOREIGN and source.product in (None, "linux") and source.service is None:
        return None
    known = ", ".join(FOREIGN)
    return (
        f"no events of the log source {said}: rules are asked of product: {PRODUCT}, service: {SERVICE},"
        f" and of product: linux with category {known}"
    )
