"""pythonaudit: the flight recorder and audit trail of Python.

`export PYTHONAUDIT=1`, and every Python process writes down what it does: the events that
CPython raises itself (PEP 578) and those that the application raises with `sys.audit()`.

An application needs nothing of it. It may say in which context events happen:

    with pythonaudit.context(user="johndoe", request="r-17"):
        ...

and that what it logs belongs to the trail:

    logging.getLogger("shop").addHandler(pythonaudit.AuditHandler())

Nothing is imported from here inside an audited process but `pythonaudit.recorder`; the rest is
the command line, `pythonaudit --help`.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pythonaudit.recorder.context import context
    from pythonaudit.recorder.logs import AuditHandler

__all__ = ["AuditHandler", "__version__", "context"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    found: object
    if name == "context":
        from pythonaudit.recorder import context as module

        found = module.context
    elif name == "AuditHandler":
        from pythonaudit.recorder.logs import AuditHandler as found
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found
