"""What runs inside the audited process.

The recorder itself is C (`pythonaudit._recorder`). `startup` turns it on when the environment
says so; an application never has to call anything:

>>> from pythonaudit.recorder import status
>>> status()["state"]
'off'

`status()` returns a dict: `state` is "recording", "off", "unsupported" (this interpreter),
"failed" or "vetoed" (an earlier audit hook keeps ours out); `process` is the process's identity,
32 hexadecimal digits; `root` is the PYTHONAUDIT_DIR in force, empty if none; `directory` is where
its journal lies, empty until the first event; `canary` is whether the hook has been seen to work;
`committed` is how many events of this thread are in the journal; and `trouble` says why there is no
journal, empty if nothing is in the way. `add_idle_hook()` is for measuring only: a hook that does
nothing, the floor for what recording costs; refused (False) in a process that is recorded.
`start_command()` is for commands of ours, which record that they read (`cli/access.py`).
"""

from pythonaudit._recorder import add_idle_hook, start_command, status

__all__ = ["add_idle_hook", "start_command", "status"]
