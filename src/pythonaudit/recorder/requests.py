"""What the middlewares of `wsgi`, `asgi` and `django` have in common: which context a request is."""

import os

from pythonaudit.recorder.context import context

_ID_MAX = 128
_ID_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:/+=@")


def request_id(given: str) -> str:
    """The id that a proxy gave the request, if it looks like one; else a new one.

    The header comes from outside: what is no plain word could be made to look like something else.
    """
    if 0 < len(given) <= _ID_MAX and _ID_CHARACTERS.issuperset(given):
        return given
    return os.urandom(8).hex()


def request_context(given_id: str, user: str) -> context:
    """The context of a request; a user who is not known is left out."""
    fields = {"request": request_id(given_id)}
    if user:
        fields["user"] = user
    return context(**fields)
