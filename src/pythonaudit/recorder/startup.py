"""Turning the recorder on at the start of a process: what `pythonaudit.pth` calls.

This runs in every Python process of the environment in which `PYTHONAUDIT` is set, so it imports
what `site` has imported anyway and nothing else.
"""

import os
import site
import sys

from pythonaudit import _recorder

_BEGAN_MAX_BYTES = 32768  # the recorder takes no more


def _text(value: str) -> str:
    """A JSON string; `json` would be an import that the application did not ask for."""
    if value.isascii() and value.isprintable() and '"' not in value and "\\" not in value:
        return f'"{value}"'
    units = value.encode("utf-16-be", "surrogatepass")
    return '"' + "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2)) + '"'


def _earlier_pth() -> list[str]:
    """Paths of the .pth files that `site` has processed before ours, in its order."""
    directories = site.getsitepackages()
    if site.ENABLE_USER_SITE and site.USER_SITE:
        directories.insert(0, site.USER_SITE)
    if sys.prefix != sys.base_prefix:  # of a virtual environment, which goes first: not yet in site's list
        directories[:0] = site.getsitepackages([sys.prefix])
    ours = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    found: list[str] = []
    for directory in directories:
        try:
            names = sorted(name for name in os.listdir(directory) if name.endswith(".pth"))
        except OSError:
            continue
        for name in names:
            if name == "pythonaudit.pth" and directory == ours:
                return found
            found.append(os.path.join(directory, name))
    return found


def _began(canary: str, modules: list[str], pth: list[str]) -> bytes:
    """How recording began, as JSON; of lists that are too long the first part, and how much was left out."""
    count = len(modules) + len(pth)
    while True:
        left_out = count - len(modules) - len(pth)
        text = (
            f'{{"began":{{"way":"site","canary":{canary},'
            f'"modules":[{",".join(map(_text, modules))}],'
            f'"pth":[{",".join(map(_text, pth))}]' + (f',"left_out":{left_out}' if left_out else "") + "}}"
        ).encode()
        if len(text) <= _BEGAN_MAX_BYTES:
            return text
        modules, pth = modules[: len(modules) // 2], pth[: len(pth) // 2]


def start() -> str:
    """Begins to record this process if the environment asks for it; harmless when repeated.

    Returns the state that `pythonaudit.recorder.status` tells. What had run before is kept with
    the journal: the modules imported and the .pth files processed so far.
    """
    state = _recorder.status()["state"]
    if state != "off":
        return state
    modules, pth = list(sys.modules), _earlier_pth()
    state = _recorder.start(os.path.dirname(os.__file__))
    if state in ("recording", "vetoed"):
        canary = "true" if _recorder.status()["canary"] else "false"
        _recorder.began(_began(canary, modules, pth))
    return state
