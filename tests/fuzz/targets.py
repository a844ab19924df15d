"""Builds and runs the fuzz targets in C: fuzz_mask.c and fuzz_encode.c, under the sanitizers.

    python -m tests.fuzz.targets encode --seconds 3600

With clang's libFuzzer they are guided by coverage and keep what they find in build/fuzz/corpus-NAME; else they
try random input. Ends with the target's own status: not 0 where it found something.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PARTS = {
    "mask": ("mask", "mask_command"),
    "encode": ("encode", "value", "json", "mask", "mask_command", "pyabi"),
}
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]


def embedding() -> list[str]:
    """What makes a program of this interpreter's library; [] where there is no shared one."""
    if not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        return []
    library, version = sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("LDVERSION")
    return [
        "-DPy_LIMITED_API=0x030A0000",
        f"-I{sysconfig.get_path('include')}",
        *(f"-L{library}", f"-Wl,-rpath,{library}", f"-lpython{version}", "-ldl", "-lpthread", "-lm"),
    ]


def build(name: str, directory: Path, guided: bool) -> Path:
    """Compiles a target; `guided`: with libFuzzer, which takes clang."""
    built = directory / f"fuzz_{name}"
    sources = [HERE / f"fuzz_{name}.c", *(ROOT / "native" / f"{part}.c" for part in PARTS[name])]
    compiler = ["clang", "-fsanitize=fuzzer"] if guided else ["cc", "-DPA_STANDALONE"]
    command = [*compiler, "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-g", "-O1", *SANITIZE]
    command += [f"-I{ROOT / 'native'}", *map(str, sources), "-o", str(built)]
    done = subprocess.run(command + (embedding() if name == "encode" else []), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name} cannot be built:\n{done.stderr}")
    return built


def environment() -> dict[str, str]:
    """Every object by malloc, so that the sanitizer sees reads beyond one."""
    return os.environ | {
        "PYTHONHOME": sys.base_prefix,
        "PYTHONMALLOC": "malloc",
        "ASAN_OPTIONS": "detect_leaks=0",  # CPython frees little at its end
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=PARTS)
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    if options.name == "encode" and not embedding():
        raise SystemExit(f"{sys.base_prefix} has no shared library of Python to build the target with")
    directory = ROOT / "build" / "fuzz"
    corpus = directory / f"corpus-{options.name}"
    corpus.mkdir(parents=True, exist_ok=True)
    guided = shutil.which("clang") is not None
    program = build(options.name, directory, guided)
    known = HERE / "corpus" / options.name
    if guided:
        command = [program, f"-max_total_time={options.seconds}", "-print_final_stats=1", corpus]
        command += [known] if known.is_dir() else []
        return subprocess.run(command, env=environment(), cwd=directory).returncode
    end = time.monotonic() + options.seconds
    seed = 0
    while time.monotonic() < end:
        seed += 1
        few = ["20000", str(seed)] if options.name == "encode" else ["--mutate", "20000", *known.iterdir()]
        status = subprocess.run([program, *few], env=environment(), cwd=directory).returncode
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
