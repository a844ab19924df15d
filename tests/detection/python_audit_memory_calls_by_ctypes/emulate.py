"""Addresses of functions are looked up; none is called."""

import ctypes


def match() -> None:
    for name in ("mprotect", "memfd_create", "process_vm_writev"):
        _ = ctypes.CDLL(None)[name]


def nomatch() -> None:
    for name in ("getpid", "mlock", "prctl"):
        _ = ctypes.CDLL(None)[name]
