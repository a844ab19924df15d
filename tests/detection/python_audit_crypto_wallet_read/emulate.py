"""Files of such names in a home of its own, with nothing in them."""

import os
from pathlib import Path

HOME = Path("home")


def match() -> None:
    for name in (".bitcoin/wallet.dat", ".config/solana/id.json"):
        path = HOME / name
        path.parent.mkdir(parents=True)
        path.touch()
        path.read_bytes()


def nomatch() -> None:
    for name in (".bitcoin/bitcoin.conf", ".config/solana/cli/config.yml"):
        path = HOME / name
        path.parent.mkdir(parents=True)
        path.touch()
        path.read_bytes()
    os.listdir(HOME)
