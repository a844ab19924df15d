"""Arguments and free-form names to named fields, for people, rules and statistics.

    >>> parse_pairs("User logged in: username=johndoe, ip=192.168.0.1")
    {'username': 'johndoe', 'ip': '192.168.0.1'}
    >>> build_template("User logged in: username=johndoe, ip=192.168.0.1")
    'User logged in: username=*, ip=*'
    >>> flatten({"$bytes": "/etc/passwd"})
    '/etc/passwd'

A pair is `key=value` where the key is an identifier that begins the text or follows white space, an
opening bracket, a quote or one of `,;:|`. A value in quotes goes to the closing quote (a quote behind a
backslash does not close); any other ends at white space, comma or semicolon. Of equal keys the later wins.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Any

_PAIR = re.compile(
    r"""(?<![^\s,;:|(\[{<"'])"""
    r"""([^\W\d]\w*)=(?!=)"""
    r"""(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^\s,;]*))""",
    re.DOTALL,
)
_TEXTS = frozenset({"$bytes", "$base64", "$wtf8"})  # tagged forms that stand for a text
_ESCAPED_QUOTE = re.compile(r"""\\(["'])""")


def parse_message(name: str) -> tuple[dict[str, str], str]:
    """The `key=value` pairs of a free-form name, and its template."""
    if "=" not in name:
        return {}, name
    parts = _PAIR.split(name)  # text, key, the value in one of three, text, …
    pairs: dict[str, str] = {}
    template = ""
    for at in range(0, len(parts) - 1, 5):
        text, key, double, single, bare = parts[at : at + 5]
        if bare is None:
            bare = _ESCAPED_QUOTE.sub(r"\1", single if double is None else double)
        pairs[key] = bare
        template += f"{text}{key}=*"
    return pairs, template + parts[-1]


def parse_pairs(name: str) -> dict[str, str]:
    """The `key=value` pairs of a free-form name."""
    return parse_message(name)[0]


def build_template(name: str) -> str:
    """A free-form name with `*` for each value: what statistics and rules group it by."""
    return parse_message(name)[1]


def named_fields(names: Sequence[str], values: Sequence[Any], plain: bool = False) -> dict[str, Any]:
    """The arguments of an event of the catalog, by name; those that are None are left out.

    Args:
        names: as many as values.
        values: the arguments, decoded.
        plain: there is no tagged form in them.
    """
    if plain and None not in values:
        return dict(zip(names, values, strict=False))
    return {
        name: value if plain else flatten(value)
        for name, value in zip(names, values, strict=False)
        if value is not None
    }


def application_fields(pairs: dict[str, str], values: Sequence[Any]) -> dict[str, Any]:
    """The fields of an application's event.

    Args:
        pairs: of its name.
        values: its arguments: dictionaries give their items, the others are arg0, arg1, ….
    """
    found: dict[str, Any] = dict(pairs)
    for position, value in enumerate(values):
        if isinstance(value, dict) and not is_tagged(value):
            found |= flatten(value)
        elif value is not None:
            found[f"arg{position}"] = flatten(value)
    return found


def is_tagged(value: dict[str, Any]) -> bool:
    """Whether an object is a tagged form (docs/format/journal.md section 8), not a dictionary."""
    first = next(iter(value), "")
    return first.startswith("$") and not first.startswith("$$")


def text_of(value: Any) -> str | None:
    """A decoded argument that is a text, also one in a tagged form; None: it is none."""
    if type(value) is str:
        return value
    if isinstance(value, dict) and next(iter(value), "") in _TEXTS:
        found = _untag(value)
        return found if isinstance(found, str) else None
    return None


def flatten(value: Any) -> Any:
    """A decoded argument without tagged forms: text instead of bytes, a few words for what was left out."""
    if isinstance(value, list):
        return [flatten(item) for item in value]
    if not isinstance(value, dict):
        return value
    if is_tagged(value):
        return _untag(value)
    found = {
        key[1:] if key.startswith("$$") else key: flatten(item) for key, item in value.items() if key != "$more"
    }
    if "$more" in value:
        found["…"] = f"{value['$more']} more"
    return found


def _untag(value: dict[str, Any]) -> Any:
    tag, content = next(iter(value.items()))
    if tag == "$code" and isinstance(content, dict):
        return f"{content.get('name')} ({content.get('file')}:{content.get('line')})"
    if tag == "$type":
        return f"<{content}>"
    if tag == "$length":
        text = value.get("$text")
        return text if isinstance(text, str) else f"<{content} long>"
    if tag == "$depth":
        return f"<{content} items>"
    if tag == "$more":
        return f"… {content} more"
    if tag in ("$base64", "$wtf8") and isinstance(content, str):
        return _decode(content, surrogates=tag == "$wtf8")
    return content


def _decode(text: str, surrogates: bool) -> str:
    try:
        found = base64.b64decode(text)
        if not surrogates:
            return found.decode("utf-8", "backslashreplace")
        return found.decode("utf-8", "surrogatepass").encode("utf-8", "backslashreplace").decode()
    except (binascii.Error, ValueError):
        return text
