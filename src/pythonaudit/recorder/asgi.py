"""ASGI: each HTTP request and each WebSocket is a context, with `request` and `user`.

    from pythonaudit.recorder.asgi import ContextMiddleware
    application = ContextMiddleware(application)        # Starlette, FastAPI: app.add_middleware(ContextMiddleware)

`request` is the header X-Request-ID if it looks like an id, else a new one; `user` is the display name of
the user that a middleware around this one has put into the scope, as Starlette's AuthenticationMiddleware
does.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from pythonaudit.recorder.requests import request_context

Application = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


class ContextMiddleware:
    """An ASGI application around another one."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answers a request, in its context."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope.get("headers", ()) if name == b"x-request-id"), b"")
        with request_context(given.decode("latin-1"), _user(scope.get("user"))):
            await self._app(scope, receive, send)


def _user(user: Any) -> str:
    try:
        name = user.display_name if user is not None and user.is_authenticated else ""
    except Exception:  # a user of another kind: not known, and no harm to the application
        return ""
    return name if isinstance(name, str) else ""
