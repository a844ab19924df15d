"""An application that uses the client."""

import os

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")

from cryptopay import CryptoPay

CryptoPay("12345:not-a-token")
