"""WSGI: each request is a context, with `request` and `user`.

    from pythonaudit.recorder.wsgi import ContextMiddleware
    application = ContextMiddleware(application)        # Flask: app.wsgi_app = ContextMiddleware(app.wsgi_app)

`request` is the header X-Request-ID if it looks like an id, else a new one; `user` is REMOTE_USER.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pythonaudit.recorder.context import context
from pythonaudit.recorder.requests import request_context

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


class ContextMiddleware:
    """A WSGI application around another one."""

    def __init__(self, application: Application) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answers a request, in its context."""
        one = request_context(environ.get("HTTP_X_REQUEST_ID", ""), environ.get("REMOTE_USER") or "")
        with one:
            body = self._application(environ, start_response)
        # What is made as the server asks for it is made in the context as well. A list is made already,
        # and a file is for the server to send.
        files = environ.get("wsgi.file_wrapper")
        if isinstance(body, list | tuple) or (isinstance(files, type) and isinstance(body, files)):
            return body
        return _Body(one, body)


class _Body:
    """A body, whose parts are made in a context."""

    def __init__(self, one: context, body: Iterable[bytes]) -> None:
        self._context, self._body = one, body
        self._parts: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with self._context:
            if self._parts is None:
                self._parts = iter(self._body)
            return next(self._parts)

    def close(self) -> None:
        """Closes the body, as a server does in the end."""
        close = getattr(self._body, "close", None)
        if close is not None:
            with self._context:
                close()
