"""Files of such names in a home of its own."""

from pathlib import Path

HOME = Path("home")


def match() -> None:
    HOME.mkdir()
    with (HOME / ".bashrc").open("a") as profile:
        profile.write("# nothing\n")
    place = HOME / ".config" / "systemd" / "user"
    place.mkdir(parents=True)
    (place / "job.service").write_text("# nothing\n")


def nomatch() -> None:
    HOME.mkdir()
    (HOME / ".bashrc.old").write_text("# nothing\n")
    (HOME / ".config").mkdir()
    (HOME / ".config" / "app.toml").write_text("# nothing\n")
    open("/etc/profile").close()
