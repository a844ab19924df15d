"""Files of such names in a home of its own, with nothing in them."""

from pathlib import Path

HOME = Path("home")


def match() -> None:
    for name in (
        ".local/share/keyrings/login.keyring",
        ".password-store/mail.gpg",
        ".gnupg/private-keys-v1.d/A.key",
    ):
        path = HOME / name
        path.parent.mkdir(parents=True)
        path.touch()
        path.read_bytes()


def nomatch() -> None:
    for name in (".local/share/keyrings/default", ".gnupg/pubring.kbx", "key.pem"):
        path = HOME / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        path.read_bytes()
