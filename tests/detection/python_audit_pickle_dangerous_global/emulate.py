"""A pickle that would call a function; it is only looked up, never called."""

import collections
import pickle


def match() -> None:
    pickle.loads(b"cposix\ngetpid\n.")
    pickle.loads(b"cbuiltins\neval\n.")


def nomatch() -> None:
    pickle.loads(pickle.dumps(collections.OrderedDict(a=1)))
    pickle.loads(pickle.dumps({1, 2}, protocol=0))
    pickle.loads(b"cbuiltins\nlist\n.")
