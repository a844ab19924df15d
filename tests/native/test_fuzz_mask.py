"""The fuzz target of the masking, over its corpus and some changes of it, under the sanitizers."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("tests/fuzz/fuzz_mask.c", "native/mask.c", "native/mask_command.c")


def test_the_corpus_and_changes_of_it(tmp_path: Path) -> None:
    program = tmp_path / "fuzz_mask"
    command = ["cc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-g", "-O1", "-DPA_STANDALONE"]
    command += ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", f"-I{ROOT / 'native'}"]
    command += [*(str(ROOT / source) for source in SOURCES), "-o", str(program)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    corpus = sorted(map(str, (ROOT / "tests" / "fuzz" / "corpus" / "mask").iterdir()))
    assert len(corpus) > 15
    done = subprocess.run([str(program), "--mutate", "5000", *corpus], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout == f"{len(corpus) * 5001} texts\n"
