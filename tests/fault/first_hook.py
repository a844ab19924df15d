"""An audit hook of somebody else's that a .pth file puts in before ours. What it does, HOOK says: see
test_earlier_hooks.py.
"""

import os
import sys

what = os.environ.get("HOOK")
VETOES = {"vetoes": RuntimeError, "vetoes with an error": ValueError, "vetoes with an end": SystemExit}
ENDS = {"refuses our import": ImportError, "ends at our import": SystemExit}
inside = False


def hook(event, args):  # type: ignore[no-untyped-def]
    """Called for each event."""
    global inside
    if what in VETOES and event == "sys.addaudithook":
        raise VETOES[what]("refused")
    if what in ENDS and event == "import" and args[0].startswith("pythonaudit"):
        raise ENDS[what]("refused")
    if what == "refuses some" and event == "app.refused":
        raise RuntimeError("refused")
    if what == "refuses what it does not know" and event.startswith("pythonaudit."):
        raise RuntimeError("refused")
    if what == "recurses" and not inside and event.startswith("app."):
        inside = True
        sys.audit("app.inner", event)
        inside = False


sys.addaudithook(hook)
