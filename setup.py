"""Builds the two native files; everything else is in pyproject.toml.

- `pythonaudit._recorder`: the recorder, one abi3 extension for every CPython from 3.10.
- `pythonaudit._preload`: the LD_PRELOAD shim. It holds no Python symbol and is never imported;
  it is built like an extension only so that it travels in the wheel.

`pythonaudit.pth` lands beside the package. In a wheel it lies under `.data/purelib`, which
installers unpack after everything else: the line in it never runs while the recorder is half
written. It is listed in RECORD, so uninstalling removes it.
"""

import re
import sys
from distutils.command import install_data as distutils_install_data
from glob import glob
from pathlib import Path

from setuptools import Distribution, Extension, setup

if sys.platform != "linux":
    sys.exit(f"pythonaudit records on Linux; it cannot be built for {sys.platform}")

COMPILE = ["-std=gnu11", "-O2", "-fvisibility=hidden", "-Wall", "-Wextra"]
LINK = ["-Wl,-z,nodelete"]  # threads may be inside the hook for as long as the process lives
VERSION = re.search(r'^version = "(.+)"$', Path("pyproject.toml").read_text(), re.M)
HEADERS = sorted(glob("native/*.h"))
PRELOAD = sorted(glob("native/preload*.c"))
RECORDER = sorted(set(glob("native/*.c")) - set(PRELOAD))


def native(name: str, sources: list[str], macros: list[tuple[str, str | None]]) -> Extension:
    """An extension module whose file is `<name>.abi3.so`."""
    return Extension(
        name,
        sources,
        depends=HEADERS,
        define_macros=macros,
        extra_compile_args=COMPILE,
        extra_link_args=LINK,
        libraries=["dl", "pthread"],  # part of libc from glibc 2.34 on
        py_limited_api=True,
    )


class install_data(distutils_install_data.install_data):
    """Puts data files where the packages go, instead of under sys.prefix."""

    def finalize_options(self) -> None:
        self.set_undefined_options(
            "install", ("install_purelib", "install_dir"), ("root", "root"), ("force", "force")
        )


class WithData(Distribution):
    """Has data files in an editable installation too: that asks for them by another name."""

    has_data = Distribution.has_data_files


setup(
    distclass=WithData,
    ext_modules=[
        native(
            "pythonaudit._recorder",
            RECORDER,
            [("Py_LIMITED_API", "0x030A0000"), ("PA_VERSION", f'"{VERSION[1]}"' if VERSION else None)],
        ),
        native("pythonaudit._preload", PRELOAD, []),
    ],
    cmdclass={"install_data": install_data},
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
