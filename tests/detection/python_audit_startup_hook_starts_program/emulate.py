"""A .pth file in a directory of its own starts /bin/true; and the same directory without such a line, and such a start."""

import site
import subprocess
from pathlib import Path

PLACE = Path("hooks")


def match() -> None:
    PLACE.mkdir()
    (PLACE / "a.pth").write_text("import subprocess; subprocess.run(['/bin/true'], check=True)\n")
    site.addsitedir(str(PLACE))


def nomatch() -> None:
    PLACE.mkdir()
    (PLACE / "a.pth").write_text("import subprocess\n")
    site.addsitedir(str(PLACE))
    subprocess.run(["/bin/true"], check=True)
