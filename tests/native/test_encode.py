"""What is written for which value: golden pairs, the rules of events, the limits."""

from __future__ import annotations

import collections
import os
import pathlib
import subprocess
import sys
from typing import Any

import pytest

from tests.native.encode_probe import build, load
from tests.native.json_forms import Tagged, parse

probe = load()
CODE = compile("def f():\n  class A:\n    def g(self): pass\n  return A.g.__code__", "/srv/\xe9.py", "exec")
NAMESPACE: dict[str, Any] = {}
exec(CODE, NAMESPACE)
METHOD = NAMESPACE["f"]()


class Text(str):
    pass


def written(value: Any, rule: int = probe.VALUE, reveal: int = 0) -> str:
    text: bytes = probe.encode((value,), bytes([rule]), reveal)[0]
    return text.decode()[1:-1]


def notes_of(value: Any, rule: int = probe.VALUE, reveal: int = 0) -> int:
    notes: int = probe.encode((value,), bytes([rule]), reveal)[1]
    return notes


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (-1, "-1"),
        (2**63 - 1, "9223372036854775807"),
        (-(2**63), "-9223372036854775808"),
        (2**63, '{"$int":"0x8000000000000000"}'),
        (-(2**63) - 1, '{"$int":"-0x8000000000000001"}'),
        (2**1024 - 1, '{"$int":"0x' + "f" * 256 + '"}'),
        (2**1024, '{"$int":"~2^1024"}'),
        (1 - 2**5000, '{"$int":"-~2^4999"}'),
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (0.1, "0.1"),
        (1e15, "1e+15"),
        (123456.789, "123456.789"),
        (1 / 3, "0.3333333333333333"),
        (1e-5, "1e-05"),
        (5e-324, "4.94065645841247e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (float("nan"), '{"$float":"nan"}'),
        (float("inf"), '{"$float":"inf"}'),
        (float("-inf"), '{"$float":"-inf"}'),
        ("", '""'),
        ("plain", '"plain"'),
        ('"\\/\b\f\n\r\t\x00\x1f\x7f', '"\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\x7f"'),
        ("h\xe9 \u20ac \U0001f40d", '"h\xe9 \u20ac \U0001f40d"'),
        ("a\udc80", '{"$wtf8":"Ye2ygA=="}'),
        (b"", '{"$bytes":""}'),
        (b"a\n\xc3\xa9", '{"$bytes":"a\\n\xe9"}'),
        (bytearray(b"x"), '{"$bytes":"x"}'),
        (b"\xff\x00", '{"$base64":"/wA="}'),
        ([1, (2, [])], "[1,[2,[]]]"),
        ({}, "{}"),
        (
            {"a": 1, 2: None, 1.5: 1, None: 2, False: 3, b"k": 4},
            '{"a":1,"2":null,"1.5":1,"null":2,"false":3,"k":4}',
        ),
        ({"$": 1, "$x": 2, b"$y": 3}, '{"$$":1,"$$x":2,"$$y":3}'),
        ({"a\udc80": 1, b"\xff": 2}, '{"a\\\\udc80":1,"\\\\xff":2}'),
        ({2**64: 1, float("nan"): 2}, '{"0x10000000000000000":1,"nan":2}'),
        ({(1,): 1, Text("k"): 2}, '{"<tuple>":1,"<tests.native.test_encode.Text>":2}'),
        (CODE, '{"$code":{"file":"/srv/\xe9.py","name":"<module>","line":1}}'),
        (object(), '{"$type":"object"}'),
        (Text("x"), '{"$type":"tests.native.test_encode.Text"}'),
        (collections.OrderedDict(), '{"$type":"collections.OrderedDict"}'),
        (pathlib.PurePosixPath("/x"), '{"$type":"pathlib.PurePosixPath"}'),
        ({1, 2}, '{"$type":"set"}'),
        (os.environ, '{"$type":"os._Environ"}'),
        (sys, '{"$type":"module"}'),
        (type('q"\n', (), {"__module__": None})(), '{"$type":"q\\"\\n"}'),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_forms(value: Any, text: str) -> None:
    assert written(value) == text


def test_the_line_and_the_qualified_name_of_code() -> None:
    name = "f.<locals>.A.g" if sys.version_info >= (3, 11) else "g"
    assert parse(probe.encode((METHOD,))[0]) == [
        Tagged(["$code", {"file": "/srv/\xe9.py", "name": name, "line": 3}])
    ]


def test_texts_are_cut_at_a_character() -> None:
    for text, kept in [
        ("a" * 5000, 4096),
        ("\xe9" * 5000, 2048),
        ("\u20ac" * 5000, 1365),
        ("a" + "\U0001f40d" * 5000, 1024),
    ]:
        assert parse(probe.encode((text,))[0]) == [text[:kept]]
        assert parse(probe.encode((text.encode(),))[0]) == [text[:kept].encode()]
        assert notes_of(text) == notes_of(text.encode()) == probe.TRUNCATED
    assert notes_of("a" * 4096) == 0
    assert parse(probe.encode((b"\xff" * 5000,))[0]) == [b"\xff" * 4096]
    assert notes_of(2**1024) == probe.TRUNCATED


def test_items_beyond_the_limit_are_counted() -> None:
    assert parse(probe.encode(([0] * 130,))[0]) == [[0] * 128 + [Tagged(["$more", 2])]]
    assert notes_of([0] * 130) == probe.ITEMS
    assert notes_of([0] * 128) == 0
    assert written(dict.fromkeys(range(1000))).endswith('"127":null,"$more":872}')
    assert parse(probe.encode((0,) * 200)[0])[128:] == [Tagged(["$more", 72])]


def test_nesting_beyond_the_limit_is_told() -> None:
    assert written([[[[[[7]]]]]]) == "[[[[[[7]]]]]]"
    assert written([[[[[[[7, 8]]]]]]]) == '[[[[[[{"$depth":2}]]]]]]'
    assert written([[[[[[{}]]]]]]) == '[[[[[[{"$depth":0}]]]]]]'
    assert notes_of([[[[[[[]]]]]]]) == probe.DEPTH


def test_what_does_not_fit_altogether_is_cut_or_counted() -> None:
    text, notes, _ = probe.encode(("x" * 4000, "y" * 4000, "z" * 4000, "a" * 4000, "b" * 4000, 1, 2))
    parsed = parse(text)
    assert parsed[:4] == ["x" * 4000, "y" * 4000, "z" * 4000, "a" * 4000]
    assert set(parsed[4]) == {"b"}
    assert parsed[5:] == [Tagged(["$more", 2])] or parsed[5:7] == [1, 2]
    assert notes & probe.TRUNCATED
    text, notes, _ = probe.encode(([["\x00" * 400] * 9] * 9, "end"))
    assert notes & probe.ITEMS
    assert 15000 < len(text) <= probe.ARGS_MAX
    parse(text)


def test_more_is_never_alone_in_an_object() -> None:
    filler = "\x01" * 2700
    text, notes, _ = probe.encode((filler, {"k" * 200: 1}, 2))
    assert parse(text) == [filler, Tagged(["$more", 2])]
    assert notes == probe.ITEMS
    text, notes, _ = probe.encode((filler, [{"k" * 200: 1}]))
    assert parse(text) == [filler, [Tagged(["$more", 1])]]
    assert parse(probe.encode((filler, {"a": 1, "k" * 200: 2}))[0]) == [filler, {"a": 1, "$more": 1}]


@pytest.mark.parametrize(
    ("rule", "value", "text", "note"),
    [
        ("PATH", "/etc/passwd", '"/etc/passwd"', ""),
        ("PATH", "password=x", '"password=x"', ""),
        ("PATH", "https://u:p@h/a?token=x", '"https://***@h/a?token=x"', "MASKED"),
        ("PATH", [b"/a", 3, None], '[{"$bytes":"/a"},3,null]', ""),
        ("PATH", pathlib.Path("/x"), '{"$type":"pathlib.PosixPath"}', ""),
        ("CODE", None, "null", ""),
        ("CODE", CODE, '{"$code":{"file":"/srv/\xe9.py","name":"<module>","line":1}}', ""),
        ("CODE", "abc", '{"$length":3,"$hash":"44bc2cf5ad770999"}', "SUMMARISED"),
        ("CODE", b"abc", '{"$length":3,"$hash":"44bc2cf5ad770999"}', "SUMMARISED"),
        ("BULK", bytearray(b"abc"), '{"$length":3,"$hash":"44bc2cf5ad770999"}', "SUMMARISED"),
        ("BULK", [1, 2], '{"$length":2}', "SUMMARISED"),
        ("BULK", 5, "5", ""),
        ("ENV_KEY", b"HOME", '{"$bytes":"HOME"}', ""),
        ("ENV_VALUE", b"x", '"***"', "MASKED"),
        ("ENV_VALUE", None, "null", ""),
        ("ENV", {"A": "b", b"C": b"d"}, '{"A":"***","C":"***"}', "MASKED"),
        ("ENV", [b"A=b", "C=d=e", 5], '[{"$bytes":"A=***"},"C=***",5]', "MASKED"),
        ("ENV", [b"no name"], '[{"$bytes":"***"}]', "MASKED"),
        ("ENV", os.environ, '{"$type":"os._Environ"}', ""),
        ("HTTP", b"POST / HTTP/1.1\r\n", '{"$length":17}', "SUMMARISED"),
        ("HTTP", object(), '{"$type":"object"}', ""),
        ("HEADERS", {"Accept": "*/*", "X": "y"}, '{"Accept":"***","X":"***"}', "MASKED"),
        ("HEADERS", [("a", "b")], '{"$length":1}', "SUMMARISED"),
        ("URL", "http://h/?q=1&token=abc", '"http://h/?q=1&token=***"', "MASKED"),
        ("SQL", "select 1", '{"$length":8}', "SUMMARISED"),
        ("INPUT", "typed", '{"$length":5}', "SUMMARISED"),
        ("LENGTH", ["/a", "/b"], '{"$length":2}', "SUMMARISED"),
        ("LENGTH", {}, '{"$length":0}', "SUMMARISED"),
        ("LENGTH", None, "null", ""),
        ("OBJECT", "text", '{"$type":"str"}', ""),
        ("OBJECT", None, "null", ""),
        ("SECRET", "x", '"***"', "MASKED"),
        ("SECRET", {"a": 1}, '"***"', "MASKED"),
        ("SECRET", None, "null", ""),
        ("LINE", "RETR secret.txt\r\n", '"RETR secret.txt\\r\\n"', ""),
        ("LINE", b"PASS hunter2\r\n", '{"$bytes":"PASS ***\\r\\n"}', "MASKED"),
        ("LINE", "Zm9vYmFy\r\n", '{"$length":10}', "SUMMARISED"),
        ("LINE", 5, "5", ""),
        ("VALUE", {"password": "x", "user": "y"}, '{"password":"***","user":"y"}', "MASKED"),
        (
            "VALUE",
            {"apiKey": 5, "token": None, "secret": True},
            '{"apiKey":"***","token":null,"secret":true}',
            "MASKED",
        ),
        ("VALUE", {b"passwd": ["x"]}, '{"passwd":"***"}', "MASKED"),
        ("VALUE", {"http://u:p@h": 1, b"token=x\xff": 2}, '{"http://***@h":1,"token=***":"***"}', "MASKED"),
        ("VALUE", "password=x\udc80", '{"$wtf8":"cGFzc3dvcmQ9Kioq"}', "MASKED"),
        ("VALUE", b"password=x\xff", '{"$base64":"cGFzc3dvcmQ9Kioq"}', "MASKED"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_rules(rule: str, value: Any, text: str, note: str) -> None:
    assert written(value, getattr(probe, rule)) == text
    assert notes_of(value, getattr(probe, rule)) == (getattr(probe, note) if note else 0)


@pytest.mark.parametrize(
    ("rule", "reveal", "value", "text"),
    [
        ("ENV_VALUE", "ENV", b"x", '{"$bytes":"x"}'),
        ("ENV", "ENV", {"password": "x"}, '{"password":"x"}'),
        ("HTTP", "HTTP", b"Cookie: x", '{"$bytes":"Cookie: x"}'),
        ("HEADERS", "HTTP", {"Cookie": "x"}, '{"Cookie":"x"}'),
        ("SQL", "SQL", "select 1", '"select 1"'),
        ("INPUT", "INPUT", "typed", '"typed"'),
        ("LINE", "MAIL", "PASS x", '"PASS x"'),
    ],
)
def test_what_is_asked_for_is_revealed(rule: str, reveal: str, value: Any, text: str) -> None:
    asked = getattr(probe, f"REVEAL_{reveal}")
    assert written(value, getattr(probe, rule), asked) == text
    assert notes_of(value, getattr(probe, rule), asked) == 0
    assert written(value, getattr(probe, rule), 63 & ~asked) == written(value, getattr(probe, rule))


def test_revealed_code_goes_to_the_sink() -> None:
    reveal = probe.REVEAL_CODE
    text, notes, revealed = probe.encode(("abc", b"d"), bytes([probe.CODE, probe.CODE]), reveal)
    first, second = parse(text)
    assert first == Tagged(["$length", 3, ("$hash", "44bc2cf5ad770999"), ("$text", 1)])
    assert second[3] == ("$text", 2)
    assert (notes, revealed) == (0, [b"abc", b"d"])
    text, notes, revealed = probe.encode(("\u20ac" * 40000, "a\udc80"), bytes([probe.CODE] * 2), reveal)
    assert revealed == [("\u20ac" * 21845).encode(), b"a\\udc80"]
    assert notes == probe.TRUNCATED
    text, notes, revealed = probe.encode((b"\xff",), bytes([probe.CODE]), reveal)  # no text
    assert parse(text)[0][:2] == ("$length", 1)
    assert (notes, revealed) == (probe.SUMMARISED, [])


def test_the_hash_is_of_the_utf8() -> None:
    for text in ("h\xe9", "\u20ac" * 1000, "\U0001f40d" * 333, "a\udc80"):
        wanted = probe.xxh64((text.encode("utf-8", "surrogatepass"),))
        assert f'"$hash":"{wanted:016x}"' in written(text, probe.BULK)
        assert f'"$length":{len(text)},' in written(text, probe.BULK)


def test_arguments_without_a_rule_are_general_values() -> None:
    assert probe.encode(("a", "b", 3), bytes([probe.SECRET]))[0] == b'["***","b",3]'
    assert probe.encode(("a",), probe.rule("open"))[0] == b'["a"]'


def test_names() -> None:
    assert probe.name(b"shop.order.paid") == (b"shop.order.paid", 0)
    assert probe.name(b"Logged in: user=joe, ip=::1") == (b"Logged in: user=joe, ip=::1", 0)
    assert probe.name(b"Login: password=hunter2!") == (b"Login: password=***", probe.MASKED)
    assert probe.name(b"a\xffb\xc3") == ("a\ufffdb\ufffd".encode(), probe.NAME)
    assert probe.name(b"a" * 4096) == (b"a" * 4096, 0)
    assert probe.name(b"a" * 4097) == (b"a" * 4096, probe.NAME)
    assert probe.name(b"a" + "\u20ac".encode() * 2000) == (b"a" + "\u20ac".encode() * 1365, probe.NAME)


def test_strings_and_arguments_of_processes() -> None:
    assert probe.string(b'a"\xff\xe2\x82') == ('"a\\"\ufffd\ufffd\ufffd"'.encode(), 0)
    assert probe.string(b"abc", 4) == (None, 0)
    assert probe.string(b"abc", 5) == (b'"abc"', 0)
    assert probe.argv(b"") == (b"[]", 0)
    assert probe.argv(b"app.py\0--password\0hunter2\0") == (b'["app.py","--password","***"]', probe.MASKED)
    assert probe.argv(b"a\0\0b") == (b'["a","","b"]', 0)
    arguments, notes = probe.argv(b"\xff\0" + b"x" * 5000 + b"\0" + b"y\0" * 200)
    assert parse(arguments)[:3] == ["\ufffd", "x" * 4096, "y"]
    assert parse(arguments)[-1] == Tagged(["$more", 74])
    assert notes == probe.TRUNCATED | probe.ITEMS
    assert probe.argv(b"a\0" * 100, 100)[0].endswith(b'{"$more":83}]')


def test_numbers_do_not_depend_on_the_locale() -> None:
    """Where the decimal point is a comma, with a locale made for the purpose."""
    program = (
        "import locale, probe\n"
        "locale.setlocale(locale.LC_ALL, 'comma')\n"
        "assert locale.localeconv()['decimal_point'] == ','\n"
        "print(probe.encode((0.5, 1 / 3, 1e300, 5e-324))[0].decode())\n"
    )
    directory = build(False)
    source = directory / "comma.src"
    source.write_text('LC_NUMERIC\ndecimal_point ","\nthousands_sep "."\ngrouping 3;3\nEND LC_NUMERIC\n')
    command = ["localedef", "--no-archive", "-c", "-i", str(source), "-f", "UTF-8", str(directory / "comma")]
    subprocess.run(command, capture_output=True)
    if not (directory / "comma" / "LC_NUMERIC").exists():
        pytest.skip("localedef cannot make a locale here")
    environment = os.environ | {"LOCPATH": str(directory), "PYTHONPATH": str(directory)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.stdout == "[0.5,0.3333333333333333,1e+300,4.94065645841247e-324]\n", done.stderr
