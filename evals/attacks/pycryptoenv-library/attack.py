"""An application that imports the package. The file with the library is made here, since it is a copy."""

import ctypes.util
import os

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")

import pycryptoenv

pycryptoenv.start(ctypes.util.find_library("m") or "libm.so.6")
