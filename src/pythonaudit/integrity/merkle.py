"""The Merkle tree of RFC 6962, section 2.1, with SHA-256.

    >>> tree = Tree()
    >>> tree.add(hash_leaf(b"one")); tree.add(hash_leaf(b"two"))
    >>> tree.root() == find_root([hash_leaf(b"one"), hash_leaf(b"two")])
    True

Hashes are 32 bytes. Leaves come as hashes already.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

EMPTY = sha256(b"").digest()


def hash_leaf(leaf: bytes) -> bytes:
    """The hash of a leaf."""
    return sha256(b"\0" + leaf).digest()


def hash_node(left: bytes, right: bytes) -> bytes:
    """The hash of a node."""
    return sha256(b"\1" + left + right).digest()


class Tree:
    """A tree that grows: keeps one hash for each of its complete subtrees.

    Attributes:
        size: how many leaves.
    """

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []  # of complete subtrees, largest first: one for each bit of the size

    def add(self, leaf: bytes) -> None:
        """Adds the hash of a leaf."""
        size = self.size
        while size & 1:
            leaf = hash_node(self._peaks.pop(), leaf)
            size >>= 1
        self._peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The root of all leaves so far."""
        if not self._peaks:
            return EMPTY
        found = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            found = hash_node(peak, found)
        return found


class Prover(Tree):
    """A tree that grows, and can prove some of its leaves at each size: keeps their paths, and no other leaf."""

    def __init__(self) -> None:
        super().__init__()
        self._paths: dict[int, list[bytes]] = {}  # of a wanted leaf, up to the complete subtree that holds it
        self._wanted: list[list[int]] = []  # in each of these subtrees

    def add(self, leaf: bytes, wanted: bool = False) -> None:
        """Adds the hash of a leaf.

        Args:
            leaf: the hash.
            wanted: whether `path` will be asked for it.
        """
        here = [self.size] if wanted else []
        if wanted:
            self._paths[self.size] = []
        right, size, at = leaf, self.size, len(self._peaks)
        while size & 1:
            at -= 1
            left, before = self._peaks[at], self._wanted.pop()
            for index in before:
                self._paths[index].append(right)
            for index in here:
                self._paths[index].append(left)
            here = before + here
            right = hash_node(left, right)
            size >>= 1
        self._wanted.append(here)
        super().add(leaf)

    def path(self, index: int) -> list[bytes]:
        """The inclusion proof of a wanted leaf in the tree of all leaves so far, from the leaf up.

        Raises:
            KeyError: it was not wanted.
        """
        path = list(self._paths[index])
        end, at = 0, -1
        while end <= index:  # sizes of complete subtrees, largest first
            at += 1
            end += 1 << ((self.size - end).bit_length() - 1)
        later = self._peaks[at + 1 :]
        if later:
            found = later[-1]
            for peak in reversed(later[:-1]):
                found = hash_node(peak, found)
            path.append(found)
        return path + self._peaks[:at][::-1]


def find_root(leaves: Sequence[bytes]) -> bytes:
    """The root of these leaves."""
    return _levels(leaves)[-1][0] if leaves else EMPTY


def prove(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The inclusion proof of a leaf (RFC 6962, section 2.1.1), from the leaf up.

    Raises:
        IndexError: there is no such leaf.
    """
    return prove_all(leaves, [index])[0]


def prove_all(leaves: Sequence[bytes], indexes: Sequence[int]) -> list[list[bytes]]:
    """The inclusion proofs of several leaves of one tree.

    Raises:
        IndexError: there is no such leaf.
    """
    if not all(0 <= index < len(leaves) for index in indexes):
        raise IndexError("no such leaf")
    levels = _levels(leaves)[:-1] if leaves else []
    found = []
    for index in indexes:
        path = []
        for level in levels:
            if index ^ 1 < len(level):
                path.append(level[index ^ 1])
            index >>= 1
        found.append(path)
    return found


def root_of(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that an inclusion proof leads to (RFC 9162, section 2.1.3.2); None: it is no proof.

    Args:
        leaf: hash of the leaf.
        index: which it is.
        size: of the tree.
        path: the proof.
    """
    if not 0 <= index < size:
        return None
    last = size - 1
    for other in path:
        if not last:
            return None
        if index & 1 or index == last:
            leaf = hash_node(other, leaf)
            while not index & 1 and index:
                index >>= 1
                last >>= 1
        else:
            leaf = hash_node(leaf, other)
        index >>= 1
        last >>= 1
    return leaf if not last else None


def _levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """All levels from the leaves to the root; one that stands alone at an end goes up as it is."""
    level, join = list(leaves), b"".join
    levels = [level]
    while len(level) > 1:
        each = iter(level)
        above = [sha256(join((b"\1", *pair))).digest() for pair in zip(each, each, strict=False)]
        if len(level) & 1:
            above.append(level[-1])
        level = above
        levels.append(level)
    return levels
