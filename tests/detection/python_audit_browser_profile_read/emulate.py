"""Files of such names in a home of its own, with nothing in them."""

import shutil
import sqlite3
from pathlib import Path

CHROME, FIREFOX = (
    Path("home", ".config", "google-chrome", "Default"),
    Path("home", ".mozilla", "firefox", "a.default"),
)


def match() -> None:
    for path in (CHROME / "Login Data", FIREFOX / "logins.json"):
        path.parent.mkdir(parents=True)
        path.touch()
    shutil.copyfile(CHROME / "Login Data", "copy.db")
    sqlite3.connect(CHROME / "Login Data").close()
    (FIREFOX / "logins.json").read_bytes()


def nomatch() -> None:
    for path in (CHROME / "Preferences", FIREFOX / "prefs.js"):
        path.parent.mkdir(parents=True)
        path.touch()
        path.read_bytes()
    sqlite3.connect("Cookies").close()
