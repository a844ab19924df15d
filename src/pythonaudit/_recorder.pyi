"""The native recorder's few callable functions; `pythonaudit.recorder` documents them."""

from typing import TypedDict

class Status(TypedDict):
    """How this process is recorded."""

    state: str
    process: str
    root: str
    directory: str
    canary: bool

def start(stdlib: str, /) -> str: ...
def began(attributes: bytes, /) -> None: ...
def status() -> Status: ...
def add_idle_hook() -> bool: ...
