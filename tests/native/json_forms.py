"""Reading back what the encoder wrote: strict JSON, and the tagged forms of docs/format/journal.md.

Standard library only, and any Python from 3.10 on: it also runs inside the interpreters under test.
"""

from __future__ import annotations

import base64
import json
from typing import Any


class Tagged(tuple):  # type: ignore[type-arg]
    """A form that stands for something that cannot be written as it is: (tag, content, ...)."""


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> Any:
    if pairs and pairs[0][0].startswith("$") and not pairs[0][0].startswith("$$"):
        tag, content = pairs[0]
        if tag == "$bytes":
            return content.encode()
        if tag == "$base64":
            return base64.b64decode(content, validate=True)
        if tag == "$wtf8":
            return base64.b64decode(content, validate=True).decode("utf-8", "surrogatepass")
        if tag == "$float":
            return float(content)
        if tag == "$int" and "~" not in content:
            return int(content, 16)
        return Tagged([tag, content, *pairs[1:]])
    return {key[1:] if key.startswith("$$") else key: value for key, value in pairs}


def parse(text: bytes) -> Any:
    """The value of a JSON text. Raises ValueError for what is not strict JSON in UTF-8."""
    return json.loads(text.decode("utf-8"), object_pairs_hook=_object, parse_constant=_refuse)


def _key(key: Any) -> str:
    if isinstance(key, str):
        return "".join(f"\\u{ord(c):04x}" if 0xD800 <= ord(c) <= 0xDFFF else c for c in key)
    if isinstance(key, bytes):
        return key.decode("utf-8", "backslashreplace")
    if key is None or isinstance(key, bool):
        return {None: "null", True: "true", False: "false"}[key]
    if isinstance(key, int) and not -(2**63) <= key < 2**63:
        return hex(key)
    if isinstance(key, float):
        return float_text(key)
    if isinstance(key, int):
        return str(key)
    return f"<{type_name(key)}>"


def type_name(value: Any) -> str:
    """The name that the encoder gives to an object's type."""
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def float_text(value: float) -> str:
    """The text of a float as docs/format/journal.md has it."""
    if value != value or value - value != 0:
        return str(value)
    texts = (format(value, f".{digits}g") for digits in (15, 16, 17))
    text = next(text for text in texts if float(text) == value)
    return text if "." in text or "e" in text else text + ".0"


def expected(value: Any) -> Any:
    """What parse() gives for a value that is within all limits and holds no secret."""
    if type(value) in (list, tuple):
        return [expected(item) for item in value]
    if type(value) is dict:
        return {_key(key): expected(item) for key, item in value.items()}
    if type(value) is bytearray:
        return bytes(value)
    if value is None or type(value) in (bool, int, float, str, bytes):
        return value
    return Tagged(["$type", type_name(value)])


def same(one: Any, other: Any) -> bool:
    """Equal, types and signs of zeroes included; nan equals nan."""
    if type(one) is not type(other):
        return False
    if type(one) is list:
        return len(one) == len(other) and all(map(same, one, other))
    if type(one) is dict:
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if type(one) is float:
        return repr(one) == repr(other)
    return bool(one == other)
