"""Messages taken apart many at a time say what they say one by one."""

from __future__ import annotations

import orjson
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pythonaudit.journal.fields import parse_message
from pythonaudit.journal.messages import parse_messages

_PIECES = st.sampled_from(
    [*"aZ_1 ,;:|([{<-*=.\t\n\\\"'ä\x1c", "user", "ip", "==", "='", '="', " a=", ",b=", "=*", "x-y=", " \\1", "$"]
)
_TEXTS = st.lists(_PIECES, max_size=12).map("".join)


@settings(max_examples=300, deadline=None)
@given(st.lists(_TEXTS, max_size=20), st.lists(_TEXTS, max_size=4), st.lists(_TEXTS, min_size=1, max_size=6))
def test_many_at_a_time(texts: list[str], templates: list[str], values: list[str]) -> None:
    # So many of each template that it is worth an expression.
    alike = [template.replace("=", f"={value}{n}") for template in templates for value in values for n in range(9)]
    messages = [*texts, *alike]
    fields, found = parse_messages(pa.array(messages, pa.string()))
    expected = [parse_message(text) for text in messages]
    assert fields.to_pylist() == [orjson.dumps(pairs).decode() if pairs else None for pairs, _ in expected]
    assert found.to_pylist() == [template if pairs else None for pairs, template in expected]


def test_more_pairs_than_an_expression_can_refer_to() -> None:
    text = "all: " + ", ".join(f"k{n}={n}" for n in range(12))
    fields, found = parse_messages(pa.array([f"{text}{n}" for n in range(20)]))
    assert found[0].as_py() == "all: " + ", ".join(f"k{n}=*" for n in range(12))
    assert orjson.loads(fields[3].as_py())["k11"] == "113"
