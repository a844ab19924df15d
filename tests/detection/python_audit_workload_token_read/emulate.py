"""Files that are not there, or are those of a container without an identity, are opened."""

import contextlib


def match() -> None:
    for name in ("/var/run/secrets/kubernetes.io/serviceaccount/token", "/run/secrets/database-password"):
        with contextlib.suppress(OSError):
            open(name).close()


def nomatch() -> None:
    for name in ("/var/run/secrets/kubernetes.io/serviceaccount/namespace", "/run/there-is-no-such-file"):
        with contextlib.suppress(OSError):
            open(name).close()
