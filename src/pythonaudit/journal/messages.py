"""Free-form names to fields and templates, many at a time: what `fields.parse_message` says of each.

Messages of one template differ in their values only, so the template is looked at once, and a regular expression
made of it takes the values of all of them. That is exact for messages in printable ASCII whose values are not quoted
and need no escape in JSON, which nearly all are; the others are parsed one by one.
"""

from __future__ import annotations

import re

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pythonaudit.journal.fields import parse_message
from pythonaudit.journal.segment import Column

# No quotation mark, backslash or character beyond ASCII; no value that begins with an apostrophe or `=`.
_PLAIN = r"^(?:[ !#-<>-\[\]-~]|=[ !#-&(-<>-\[\]-~])*=?$"
# `fields` says what a pair is; of a plain message this is the same, for RE2.
_PAIR = r"(^|[ ,;:|(\[{<'])([A-Za-z_][A-Za-z0-9_]*)=[^ ,;]*"
_VALUE = "=([^ ,;]*)"
_FEW = 8  # of one template: not worth a regular expression
_PAIRS_MAX = 9  # that RE2 can refer to


def parse_messages(messages: pa.Array) -> tuple[pa.Array, pa.Array]:
    """The `key=value` pairs of names as JSON objects, and their templates; both null where there are none.

    Args:
        messages: the names.
    """
    paired = _matches(pc.match_substring(messages, "="))
    plain = paired & _matches(pc.match_substring_regex(messages, _PLAIN))
    found = []
    slow = [np.flatnonzero(paired & ~plain)]
    for template, rows in _by_template(messages, np.flatnonzero(plain)):
        parts = re.split(_PAIR, template)
        if len(rows) < _FEW or len(parts) > 3 * _PAIRS_MAX + 1:
            slow.append(rows)
        elif len(parts) > 1:
            found.append((rows, _values(messages.take(pa.array(rows)), parts), pa.repeat(template, len(rows))))
    found.append(_one_by_one(messages, np.concatenate(slow)))
    places_of, fields, templates = zip(*found, strict=True)
    order = np.concatenate(places_of)
    places = np.full(len(messages), -1)
    places[order] = np.arange(len(order))
    taken = pa.array(places, mask=places < 0)
    return pa.concat_arrays(fields).take(taken), pa.concat_arrays(templates).take(taken)


def _matches(found: pa.Array) -> Column:
    matched: Column = found.to_numpy(zero_copy_only=False)
    return matched


def _by_template(messages: pa.Array, rows: Column) -> list[tuple[str, Column]]:
    """The templates of plain messages, each with the rows that have it."""
    templates = pc.replace_substring_regex(messages.take(pa.array(rows)), _PAIR, r"\1\2=*").dictionary_encode()
    which = templates.indices.to_numpy()
    ends = np.cumsum(np.bincount(which))
    groups = np.split(rows[np.argsort(which, kind="stable")], ends[:-1])
    return list(zip(templates.dictionary.to_pylist(), groups, strict=False))


def _values(messages: pa.Array, parts: list[str]) -> pa.Array:
    """The pairs of messages of one template.

    Args:
        messages: which.
        parts: of the template: text, what stands before a key, the key, text, …, text.
    """
    keys = parts[2::3]
    before = map("".join, zip(parts[:-1:3], parts[1::3], keys, strict=True))
    whole = "^" + "".join(re.escape(text) + _VALUE for text in before) + re.escape(parts[-1]) + "$"
    places = {key: place for place, key in enumerate(keys, 1)}  # of equal keys the later wins
    objects = "{" + ",".join(f'"{key}":"\\{place}"' for key, place in places.items()) + "}"
    return pc.replace_substring_regex(messages, whole, objects)


def _one_by_one(messages: pa.Array, rows: Column) -> tuple[Column, pa.Array, pa.Array]:
    parsed = [parse_message(text) for text in messages.take(pa.array(rows, pa.int64())).to_pylist()]
    fields = [orjson.dumps(pairs).decode() if pairs else None for pairs, _ in parsed]
    templates = [template if pairs else None for pairs, template in parsed]
    return rows, pa.array(fields, pa.string()), pa.array(templates, pa.string())
