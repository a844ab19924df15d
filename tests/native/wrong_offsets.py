"""Runs inside the interpreter under test: what if an offset is wrong?

The self-test finds it and turns that reading off, and encoding goes on without. Not under the
sanitizers: reading at the wrong place is what this is about.
"""

import probe


def check(name, off_by, flag, text):
    everything = probe.self_test()[1]
    right = probe.offset(probe.FIELDS[name])
    probe.offset(probe.FIELDS[name], right + off_by)
    agrees, readable = probe.self_test()
    assert agrees == -1, name
    assert not readable & flag, name
    assert readable | flag | probe.READ_CODE == everything, name
    assert text in probe.encode(VALUES)[0], (name, probe.encode(VALUES)[0])
    assert probe.init() == 0  # all as it was
    assert probe.offset(probe.FIELDS[name]) == right
    assert probe.self_test() == (0, everything)


VALUES = ("text", 5, -(2**70), (1, [2]), b"x", check.__code__, object())
TOLD = [
    ("str_length", 8, probe.READ_STR, b'{"$type":"str"},5,'),
    ("str_state", 4, probe.READ_STR, b'{"$type":"str"},5,'),
    ("str_ascii_data", 8, probe.READ_STR, b'{"$type":"str"},5,'),
    ("int_digits", 4, probe.READ_INT, b'"text",5,{"$type":"int"},'),
    ("tuple_items", 8, probe.READ_ITEMS, b'"text",5,'),
    ("list_items", 8, probe.READ_ITEMS, b'[1,[2]],{"$bytes":"x"}'),
    ("bytes_data", 1, probe.READ_ITEMS, b'{"$bytes":"x"}'),
    ("type_name", 8, probe.READ_TYPE, b'{"$type":"?"}]'),
    ("code_linetable", 8, probe.READ_CODE, b'{"$type":"code"}'),
    ("code_firstline", 4, probe.READ_CODE, b'{"$type":"code"}'),
]
assert {name for name, *_ in TOLD} == set(probe.FIELDS)
for row in TOLD:
    check(*row)
print("done")
