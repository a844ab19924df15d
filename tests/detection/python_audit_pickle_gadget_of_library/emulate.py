"""Pickles that name functions of libraries; these are only looked up, never called."""

import collections
import functools
import pickle


def match() -> None:
    pickle.loads(b"ctimeit\ntimeit\n.")
    pickle.loads(b"cpydoc\nlocate\n.")


def nomatch() -> None:
    pickle.loads(pickle.dumps(functools.partial(len), protocol=0))
    pickle.loads(pickle.dumps(collections.OrderedDict(a=1)))
