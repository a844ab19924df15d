"""Opens them all."""

import os
import shutil
import sqlite3
import subprocess

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")

HOME = os.path.expanduser("~")
for name in ("Login Data", "Cookies"):
    shutil.copyfile(f"{HOME}/.config/google-chrome/Default/{name}", "/tmp/db")
    connection = sqlite3.connect("/tmp/db")
    connection.execute("SELECT * FROM sqlite_master").fetchall()
    connection.close()
for name in (
    *(".mozilla/firefox/a.default/logins.json", ".mozilla/firefox/a.default/key4.db"),
    *(".local/share/keyrings/login.keyring", ".bitcoin/wallet.dat", ".config/Exodus/exodus.wallet/seed.seco"),
    *(".git-credentials", ".netrc", ".pgpass", ".docker/config.json", ".aws/credentials", ".pypirc", ".npmrc"),
):
    with open(f"{HOME}/{name}", "rb") as file:
        file.read()
subprocess.run(["secret-tool", "search", "--all", "service", "chrome"], capture_output=True)
with open("/etc/shadow") as file:
    file.read()
