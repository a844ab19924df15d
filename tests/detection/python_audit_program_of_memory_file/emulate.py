"""A copy of /bin/true is started by the number of its descriptor; and by its path."""

import os
import subprocess


def match() -> None:
    descriptor = os.open("/bin/true", os.O_RDONLY)
    subprocess.run([f"/proc/self/fd/{descriptor}"], pass_fds=[descriptor], check=True)


def nomatch() -> None:
    subprocess.run(["/bin/true"], check=True)
