"""Builds the two native files; everything else is in pyproject.toml.

- `pythonaudit._recorder`: the recorder, one abi3 extension for every CPython from 3.10 with the GIL;
  built by a free-threaded interpreter, one extension for that interpreter's ABI.
- `pythonaudit._preload`: the LD_PRELOAD shim. It holds no Python symbol and is never imported;
  it is built like an extension only so that it travels in the wheel.

`pythonaudit.pth` lands beside the package. In a wheel it lies under `.data/purelib`, which
installers unpack after everything else: the line in it never runs while the recorder is half
written. It is listed in RECORD, so uninstalling removes it.
"""

import re
import sys
import sysconfig
from distutils.command import install_data as distutils_install_data
from glob import glob
from pathlib import Path

from setuptools import Distribution, Extension, setup
from setuptools.command.build_ext import build_ext as setuptools_build_ext

if sys.platform != "linux":
    sys.exit(f"pythonaudit records on Linux; it cannot be built for {sys.platform}")
if sys.implementation.name != "cpython":
    sys.exit(f"pythonaudit records CPython; it cannot be built for {sys.implementation.name}")

COMPILE = ["-std=gnu11", "-O2", "-fvisibility=hidden", "-Wall", "-Wextra"]
LINK = ["-Wl,-z,nodelete"]  # threads may be inside the hook for as long as the process lives
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
VERSION = re.search(r'^version = "(.+)"$', Path("pyproject.toml").read_text(), re.M)
HEADERS = sorted(glob("native/*.h"))
PRELOAD = sorted(glob("native/preload*.c"))
RECORDER = sorted(set(glob("native/*.c")) - set(PRELOAD))


def native(name: str, sources: list[str], macros: list[tuple[str, str | None]]) -> Extension:
    """An extension module whose file is `<name>.abi3.so`, or as the free-threaded ABI asks."""
    return Extension(
        name,
        sources,
        depends=HEADERS,
        define_macros=macros,
        extra_compile_args=COMPILE,
        extra_link_args=LINK,
        libraries=["dl", "pthread"],  # part of libc from glibc 2.34 on
        py_limited_api=not FREE_THREADED,
    )


class build_ext(setuptools_build_ext):
    """Names the shim the same whoever builds it: it is found by that name, and holds no Python symbol."""

    def get_ext_filename(self, fullname: str) -> str:
        if fullname.endswith("_preload"):
            return fullname.replace(".", "/") + ".abi3.so"
        return str(super().get_ext_filename(fullname))


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
            [
                ("PA_FREE_THREADED", None) if FREE_THREADED else ("Py_LIMITED_API", "0x030A0000"),
                ("PA_VERSION", f'"{VERSION[1]}"' if VERSION else None),
            ],
        ),
        native("pythonaudit._preload", PRELOAD, []),
    ],
    cmdclass={"build_ext": build_ext, "install_data": install_data},
    options={} if FREE_THREADED else {"bdist_wheel": {"py_limited_api": "cp310"}},
)
