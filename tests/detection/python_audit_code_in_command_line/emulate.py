"""Another Python is given code in its command line that decodes and executes; and such that does not."""

import subprocess
import sys


def match() -> None:
    code = "import base64; exec(base64.b64decode('cGFzcw=='))"
    subprocess.run([sys.executable, "-c", code], check=True)


def nomatch() -> None:
    subprocess.run([sys.executable, "-c", "print('exec')"], stdout=subprocess.DEVNULL, check=True)
    subprocess.run(["/bin/echo", "-c", "exec(base64.b64decode(text))"], stdout=subprocess.DEVNULL, check=True)
