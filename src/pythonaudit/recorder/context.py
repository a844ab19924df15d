"""In which context events happen: what `pythonaudit.context` is.

    with pythonaudit.context(user="johndoe", request="r-17"):
        open("/etc/passwd")         # this event, and all others in here, carry both fields

A context goes where the interpreter carries context variables: across `await`, into tasks, into threads
that are started with a copied context, and not into others. Contexts add up; of equal fields the inner one
counts. Values are str, int, float, bool or None; of other objects the name of their type is written, since
asking them would run code. Secrets are masked as in arguments. Whatever goes wrong costs the context, never
the application; where nothing is recorded, nothing is done.
"""

from pythonaudit._recorder import enter_context, leave_context


class context:
    """Attaches fields to every event that is raised within `with`. One object serves one `with` at a time."""

    __slots__ = ("_fields", "_token")

    # Positional only, so that any field can have any name.
    def __init__(self, /, **fields: object) -> None:
        self._fields = fields
        self._token: object = None

    def __enter__(self) -> "context":
        self._token = enter_context(self._fields)
        return self

    def __exit__(self, *_: object) -> None:
        token, self._token = self._token, None
        leave_context(token)
