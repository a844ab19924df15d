"""What is made of events and needed again, within bounds: it comes from whoever wrote the journal."""

from __future__ import annotations

from typing import Any, TypeVar

Made = TypeVar("Made")

_KEPT = 16384
_KEPT_BYTES = 16 << 20


class Kept(dict[Any, Made]):
    """What was made, by what it was made of. When it is too much, all of it goes."""

    def __init__(self) -> None:
        self._size = 0

    def keep(self, key: Any, made: Made, size: int) -> Made:
        """Adds one, and gives it back.

        Args:
            key: what it was made of.
            made: which.
            size: of it, bytes.
        """
        self._size += size
        if self._size > _KEPT_BYTES or len(self) >= _KEPT:
            self.clear()
            self._size = size
        self[key] = made
        return made
