"""The finder, and an import through it."""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import urllib.request
from collections.abc import Sequence
from types import ModuleType

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")

BASE = "http://203.0.113.10:8000/"


class Remote(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.util.spec_from_loader(name, self) if name.startswith("agent") else None

    def exec_module(self, module: ModuleType) -> None:
        source = urllib.request.urlopen(f"{BASE}{module.__name__}.py", timeout=8).read()
        exec(compile(source, f"<{module.__name__}>", "exec"), module.__dict__)


sys.meta_path.append(Remote())
__import__("agent_main").run()
