"""All objects are asked for, and what refers to one; and both the other way round."""

import gc


def match() -> None:
    found = gc.get_objects()
    gc.get_referrers(found)


def nomatch() -> None:
    gc.collect()
    gc.get_referrers(gc.get_objects)
    gc.get_objects()
