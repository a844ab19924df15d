"""pythonaudit: the flight recorder and audit trail of Python.

`export PYTHONAUDIT=1`, and every Python process writes down what it does: the events that
CPython raises itself (PEP 578) and those that the application raises with `sys.audit()`.

Nothing is imported from here inside an audited process but `pythonaudit.recorder`; the rest is
the command line, `pythonaudit --help`.
"""

__version__ = "0.1.0"
