"""Addresses of symbols are looked up; nothing is read or written there."""

import ctypes


def match() -> None:
    ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime")


def nomatch() -> None:
    _ = ctypes.pythonapi.Py_GetVersion
    ctypes.c_char.in_dll(ctypes.pythonapi, "Py_DebugFlag")
