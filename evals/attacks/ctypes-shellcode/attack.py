"""Maps, copies and calls."""

import ctypes
import mmap
import os

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")

code = bytes.fromhex("b82a000000c3")
memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
memory.write(code)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
libc = ctypes.CDLL(None)
libc.mprotect(ctypes.c_void_p(address), mmap.PAGESIZE, 7)
assert ctypes.CFUNCTYPE(ctypes.c_int)(address)() == 42
