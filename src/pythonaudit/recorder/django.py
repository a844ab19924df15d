"""Django: each request is a context, with `request` and `user`.

    MIDDLEWARE = [
        ...,
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "pythonaudit.recorder.django.context_middleware",
    ]

`request` is the header X-Request-ID if it looks like an id, else a new one. `user` is the user's name, from
the moment on at which the application has asked for `request.user`: Django asks the database then, and
asking earlier would be a query more. Content that is streamed is made after the middleware, outside of
the context.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction

from pythonaudit.recorder.context import context
from pythonaudit.recorder.requests import request_context


def context_middleware(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The middleware, for synchronous and for asynchronous Django."""
    if iscoroutinefunction(get_response):

        async def answer_later(request: Any) -> Any:
            with _request_context(request):
                return await get_response(request)

        return answer_later

    def answer(request: Any) -> Any:
        with _request_context(request):
            return get_response(request)

    return answer


context_middleware.sync_capable = context_middleware.async_capable = True  # type: ignore[attr-defined]


def _request_context(request: Any) -> context:
    user = getattr(request, "user", None)
    inner = getattr(user, "__dict__", {})
    name = ""
    if "_setupfunc" in inner and "_wrapped" in inner:  # a SimpleLazyObject
        inner["_setupfunc"] = _noticed(inner["_setupfunc"])
        name = _name(inner["_wrapped"])  # if somebody has asked for it already
    elif user is not None:
        name = _name(user)
    if callable(getattr(request, "auser", None)):
        request.auser = _noticed_later(request.auser)
    return request_context(request.META.get("HTTP_X_REQUEST_ID", ""), name)


def _noticed(load: Callable[[], Any]) -> Callable[[], Any]:
    """Loads the user, as before, and goes on in a context with the name."""

    def load_user() -> Any:
        user = load()
        _enter(user)
        return user

    return load_user


def _noticed_later(load: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
    async def load_user() -> Any:
        user = await load()
        _enter(user)
        return user

    return load_user


def _enter(user: Any) -> None:
    """What is entered here ends with the context of the request around it."""
    name = _name(user)
    if name:
        context(user=name).__enter__()


def _name(user: Any) -> str:
    try:
        name = user.get_username() if user.is_authenticated else ""
    except Exception:  # no user as Django has them: not known, and no harm to the application
        return ""
    return name if isinstance(name, str) else ""
