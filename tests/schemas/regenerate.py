"""Makes the trimmed copies of published schemas that the tests hold the formats against (README.md here).

    python -m tests.schemas.regenerate ecs ecs_flat.yml 9.4.0
    python -m tests.schemas.regenerate ocsf 1.8.0.json

`ecs_flat.yml` is `generated/ecs/ecs_flat.yml` of a tag of elastic/ecs; `1.8.0.json` is what
https://schema.ocsf.io/1.8.0/export/v2/schema answers.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

#: Sets of fields of ECS that we write into, and fields of its base.
FIELD_SETS = {
    *("destination", "dll", "dns", "ecs", "event", "file", "host", "log", "package", "process", "span", "trace"),
    *("url", "user"),
}
BASE_FIELDS = {"@timestamp", "message"}

#: Objects of OCSF that we write. Attributes of other kinds are left out: writing one fails.
OBJECTS = {
    *(
        "actor",
        "database",
        "device",
        "dns_query",
        "file",
        "fingerprint",
        "http_request",
        "long_string",
        "metadata",
    ),
    *("analytic", "attack", "evidences", "finding_info", "sub_technique", "technique"),
    *("module", "network_endpoint", "object", "process", "product", "script", "url", "user"),
}
#: Classes of OCSF, by number.
CLASSES = {0, 1001, 1004, 1005, 1007, 1008, 1009, 2004, 4001, 4002, 4003, 4008, 5001, 5019, 6002, 6005}
#: Profiles that our events have.
PROFILES = {"host"}

_KINDS = {
    "boolean_t": "boolean", "float_t": "number", "integer_t": "integer", "long_t": "integer", "string_t": "string",
}  # fmt: skip


def trim_ecs(fields: dict[str, Any], version: str) -> dict[str, Any]:
    """Types, whether they are lists, and which values are allowed."""
    kept = {}
    for name, said in sorted(fields.items()):
        if name in BASE_FIELDS or name.partition(".")[0] in FIELD_SETS:
            one = {"type": said["type"]}
            if said.get("normalize"):
                one["normalize"] = said["normalize"]
            if said.get("allowed_values"):
                one["allowed_values"] = {
                    value["name"]: value.get("expected_event_types", []) for value in said["allowed_values"]
                }
            kept[name] = one
    return {"version": version, "fields": kept}


def trim_ocsf(schema: dict[str, Any]) -> dict[str, Any]:
    """JSON Schemas of the classes, and of the objects in them."""
    types = schema["dictionary"]["types"]["attributes"]
    classes = {
        str(said["uid"]): _shape(said, types) for said in schema["classes"].values() if said["uid"] in CLASSES
    }
    objects = {name: _shape(schema["objects"][name], types) for name in sorted(OBJECTS)}
    return {"version": schema["version"], "classes": dict(sorted(classes.items())), "$defs": objects}


def _shape(said: dict[str, Any], types: dict[str, Any]) -> dict[str, Any]:
    properties, required = {}, []
    for name, attribute in sorted(said["attributes"].items()):
        if attribute.get("profiles") and not PROFILES.intersection(attribute["profiles"]):
            continue
        if attribute.get("requirement") == "required":
            required.append(name)
        if attribute["type"] == "object_t" and attribute["object_type"] not in OBJECTS:
            continue
        item = _item(attribute, types)
        properties[name] = {"type": "array", "items": item} if attribute.get("is_array") else item
    shape: dict[str, Any] = {"type": "object", "required": required}
    if properties:  # one without any may have all: `unmapped`
        shape |= {"properties": properties, "additionalProperties": False}
    for constraint, names in (said.get("constraints") or {}).items():
        kind = {"at_least_one": "anyOf", "just_one": "oneOf"}[constraint]
        shape[kind] = [{"required": [name]} for name in names]
    return shape


def _item(attribute: dict[str, Any], types: dict[str, Any]) -> dict[str, Any]:
    if attribute["type"] == "object_t":
        return {"$ref": f"#/$defs/{attribute['object_type']}"}
    said = types[attribute["type"]]
    kind = _KINDS.get(said.get("type") or attribute["type"])
    item: dict[str, Any] = {"type": kind} if kind else {}  # json_t is anything
    if "regex" in said:
        item["pattern"] = said["regex"]
    if "max_len" in said:
        item["maxLength"] = said["max_len"]
    if "range" in said:
        item["minimum"], item["maximum"] = said["range"]
    if attribute.get("enum"):
        item["enum"] = [int(value) if kind == "integer" else value for value in sorted(attribute["enum"])]
    return item


def main(which: str, path: str, version: str = "") -> None:
    """Writes one of the two."""
    if which == "ecs":
        import yaml

        trimmed = trim_ecs(yaml.safe_load(Path(path).read_text("utf-8")), version)
    else:
        trimmed = trim_ocsf(json.loads(Path(path).read_text("utf-8")))
    text = json.dumps(trimmed, separators=(",", ":"), sort_keys=False)
    (HERE / f"{which}-{trimmed['version']}.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
