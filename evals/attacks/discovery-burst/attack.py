"""Asks, and keeps the answers."""

import os
import subprocess

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")

COMMANDS = (
    *("whoami", "id", "uname -a", "hostname", "ip addr", "netstat -antp", "ps aux", "cat /etc/passwd"),
    *("mount", "groups", "last -n 5", "cat /etc/os-release", "df -h", "env", "sudo -ln"),
)
said = [subprocess.run(command, shell=True, capture_output=True, text=True).stdout for command in COMMANDS]
for path in ("/proc/version", "/proc/cpuinfo", "/proc/self/cgroup", "/etc/group"):
    with open(path) as file:
        said.append(file.read())
with open("/tmp/.info", "w") as file:
    file.write("\n".join(said))
