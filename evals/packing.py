"""Files of an emulation, as they get to where they run.

`@@base64 FILE@@` in a text is replaced by FILE of the same emulation, packed:

    base64, hex     its bytes in that form
    zlib            compressed, then base64
    marshal         compiled, marshalled, then base64
    wav             XOR with `key`, then the frames of a WAV file, in base64

FILE can itself have such places. What is packed lies in the repository as text that can be read.
"""

from __future__ import annotations

import base64
import io
import marshal
import re
import wave
import zlib
from collections.abc import Callable
from pathlib import Path

_PLACE = re.compile(rb"@@(\w+) ([\w./-]+)@@")
#: Where folders of an emulation go; the rest goes to the application.
SERVED, PROGRAMS = Path("/srv/www"), Path("/usr/local/bin")


def place(source: Path, app: Path, site: Path) -> None:
    """Copies the files of the emulation in `source` to where they belong."""
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        if not path.is_file() or relative.name == "about.toml" or "__pycache__" in relative.parts:
            continue
        folder, below = relative.parts[0], Path(*relative.parts[1:])
        folders = {"site": site, "served": SERVED, "bin": PROGRAMS}
        target = folders[folder] / below if folder in folders else None
        if target is None:
            target = app / ("main.py" if relative.name == "attack.py" else relative)
        if target.suffix == ".in":
            target = target.with_suffix("")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(fill(path.read_bytes(), source))
        target.chmod(0o755 if folder == "bin" else 0o644)


def fill(text: bytes, source: Path) -> bytes:
    """The text with what it names packed into it."""

    def packed(match: re.Match[bytes]) -> bytes:
        content = fill((source / match[2].decode()).read_bytes(), source)
        return PACKERS[match[1].decode()](content)

    return _PLACE.sub(packed, text)


def _in_wav(content: bytes) -> bytes:
    mixed = bytes(byte ^ b"key"[number % 3] for number, byte in enumerate(content))
    held = io.BytesIO()
    with wave.open(held, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(1)
        sound.setframerate(8000)
        sound.writeframes(mixed)
    return base64.b64encode(held.getvalue())


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "base64": lambda content: base64.b64encode(content),
    "hex": lambda content: content.hex().encode(),
    "zlib": lambda content: base64.b64encode(zlib.compress(content)),
    "marshal": lambda content: base64.b64encode(marshal.dumps(compile(content, "<packed>", "exec"))),
    "wav": _in_wav,
}
