"""An application that checks a word."""

import os

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")

from spellcheckpy import SpellChecker

SpellChecker().check("hello")
