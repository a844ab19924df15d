"""The tree against RFC 6962's definition written down word by word, and its published roots."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pythonaudit.integrity.merkle import (
    EMPTY,
    Prover,
    Tree,
    find_root,
    hash_leaf,
    hash_node,
    prove,
    prove_all,
    root_of,
)

#: Leaves and roots of the tests of Certificate Transparency's reference implementation.
KNOWN_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
KNOWN_ROOTS = {
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


def defined_root(leaves: list[bytes]) -> bytes:
    """Section 2.1."""
    if not leaves:
        return EMPTY
    if len(leaves) == 1:
        return leaves[0]
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return hash_node(defined_root(leaves[:half]), defined_root(leaves[half:]))


@pytest.mark.parametrize("size", KNOWN_ROOTS)
def test_published_roots(size: int) -> None:
    assert find_root([hash_leaf(leaf) for leaf in KNOWN_LEAVES[:size]]).hex() == KNOWN_ROOTS[size]


@given(st.integers(0, 130))
def test_both_ways_are_the_definition(size: int) -> None:
    leaves = [hash_leaf(bytes([number])) for number in range(size)]
    tree = Tree()
    for number, leaf in enumerate(leaves):
        assert tree.size == number
        tree.add(leaf)
    assert tree.root() == find_root(leaves) == defined_root(leaves)


@given(st.integers(1, 130), st.data())
def test_a_proof_holds_for_its_leaf_alone(size: int, data: st.DataObject) -> None:
    leaves = [hash_leaf(bytes([number])) for number in range(size)]
    index = data.draw(st.integers(0, size - 1))
    path, root = prove(leaves, index), find_root(leaves)
    assert root_of(leaves[index], index, size, path) == root
    other = data.draw(st.integers(0, size - 1).filter(lambda at: at != index) if size > 1 else st.just(-1))
    assert root_of(leaves[index], other, size, path) != root
    assert root_of(hash_leaf(b"another"), index, size, path) != root
    assert root_of(leaves[index], index, size, [*path, EMPTY]) != root
    assert not path or root_of(leaves[index], index, size, path[:-1]) != root


def test_there_is_no_proof_of_what_is_not_there() -> None:
    with pytest.raises(IndexError):
        prove_all([EMPTY], [1])
    assert root_of(EMPTY, 1, 1, []) is None


@given(st.integers(1, 70), st.sets(st.integers(0, 69)))
def test_a_prover_proves_at_each_size_what_was_wanted(size: int, wanted: set[int]) -> None:
    leaves = [hash_leaf(bytes([number])) for number in range(size)]
    prover = Prover()
    for number, leaf in enumerate(leaves):
        prover.add(leaf, number in wanted)
        for index in wanted & set(range(number + 1)):
            assert prover.path(index) == prove(leaves[: number + 1], index)
    assert prover.root() == find_root(leaves)
    unwanted = set(range(size)) - wanted
    if unwanted:
        with pytest.raises(KeyError):
            prover.path(unwanted.pop())
