"""An application that loads a model."""

import os

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")

from ultralytics.model import load

load("yolo11n.pt")
