"""Files to packages: which distribution, and which version of it, a file of code belongs to.

    >>> find = finder_for(("/venv/lib/python3.12/site-packages",))
    >>> find.package("/venv/lib/python3.12/site-packages/requests/api.py")  # doctest: +SKIP
    Package(name='requests', version='2.32.3', changed_ns=...)

The installed metadata say so (PEP 376 and 627, `RECORD`; PEP 610, `direct_url.json` of editable installs). In
order, for a file

1. below the source of an editable install that the process can see: that distribution;
2. in a directory of installed distributions (`site-packages`, `dist-packages`, or any above the file that has
   metadata): the distribution whose RECORD names it; else the one that alone has files in the same top-level
   package; else, in a directory for modules alone, the name of that package, without a version;
3. in a zip file: the distribution in it whose RECORD names the file; the only one, if it has no RECORD; else the
   name of the zip file; and a script that a distribution of the path brought (`bin/pip`) is of that one;
4. else, if it is still there, its project: `name` of the nearest `pyproject.toml`, or the nearest directory with
   `.git`, or that of `sys.path`, or its own directory. Without a version.

Paths come from journals, and metadata from directories of others: only regular files are read, and no more of
them than is sensible. What was read is kept as long as the directory is unchanged. The standard library only,
imported where it is needed: start-up is felt.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote, urlsplit

_RECORD_BYTES = 16 << 20
_METADATA_BYTES = 64 << 10
_NAME_LENGTH = 200
_KEPT_DIRECTORIES = 4096
_SITE_NAMES = frozenset({"site-packages", "dist-packages"})
_METADATA = (".dist-info", ".egg-info")
_TOML_NAME = re.compile(r"""^\s*name\s*=\s*(["'])(.+?)\1\s*(?:#.*)?$""", re.MULTILINE)
_TOML_PROJECT = re.compile(r"^\s*\[project\]\s*$(.*?)(?=^\s*\[|\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Package:
    """A distribution, or a project that is none.

    Attributes:
        name: as its metadata write it.
        version: None: it has none, or it is not known.
        changed_ns: when it was installed or last changed, nanoseconds since 1970; 0: no matter.
    """

    name: str
    version: str | None = None
    changed_ns: int = 0


class PackageFinder:
    """Finds the packages of files, as one process saw them.

    Args:
        path: its `sys.path`.
    """

    def __init__(self, path: Iterable[str] = ()) -> None:
        self._path = tuple(dict.fromkeys(entry for entry in path if entry.startswith("/")))
        self._known: dict[str, Package | None] = {}
        self._editable: list[tuple[str, Package]] | None = None

    def package(self, file: str) -> Package | None:
        """The package of a file; None: it is no absolute path, or nothing is known of it any more."""
        if not file.startswith("/"):
            return None
        try:
            return self._known[file]
        except KeyError:
            if len(self._known) >= 16 * _KEPT_DIRECTORIES:
                self._known.clear()
            found = self._known[file] = self._find(os.path.normpath(file))
            return found

    def owner(self, pth: str) -> Package:
        """The package that brought a .pth file; else the file itself, by its name."""
        site = _site(os.path.dirname(pth))
        return (site and site.exact(os.path.basename(pth))) or Package(os.path.basename(pth)[:_NAME_LENGTH])

    def _find(self, file: str) -> Package | None:
        directory = os.path.dirname(file)
        for root, package in self._editables():
            if file.startswith(root + "/") and _SITE_NAMES.isdisjoint(file[len(root) :].split("/")):
                return package
        for place in _upwards(directory):
            inside = file[len(place.rstrip("/")) + 1 :]
            site = _site(place)
            found = site and site.find(inside, os.path.basename(place) in _SITE_NAMES or place in self._path)
            found = found or _archive(place, inside)
            if found:
                return found
        for site in filter(None, map(_site, self._path)):
            script = site.script(file)
            if script:
                return script
        return self._project(directory) if os.path.isfile(file) else None

    def _project(self, directory: str) -> Package:
        """The project that a directory is in, else the directory where modules were looked for."""
        found = _project(directory)
        if found is None:
            above = [entry for entry in self._path if (directory + "/").startswith(entry.rstrip("/") + "/")]
            found = Package(os.path.basename(max(above, key=len, default=directory)) or "/")
        return found

    def _editables(self) -> list[tuple[str, Package]]:
        """Directories of source, and the packages that are installed from there; the longest first."""
        if self._editable is None:
            sites = filter(None, map(_site, self._path))
            found = [pair for site in sites for pair in site.editable()]
            self._editable = sorted(found, key=lambda pair: -len(pair[0]))
        return self._editable


def finder_for(path: tuple[str, ...]) -> PackageFinder:
    """The finder for a `sys.path`; a new one when something has been installed there or removed."""
    return _finder_at(path, tuple(map(_changed_ns, path)))


@lru_cache(maxsize=64)
def _finder_at(path: tuple[str, ...], changed_ns: tuple[int, ...]) -> PackageFinder:
    return PackageFinder(path)


class _Site:
    """A directory of installed distributions.

    Args:
        directory: which.
        metadata: names of the directories and files of metadata in it.
    """

    def __init__(self, directory: str, metadata: list[str]) -> None:
        self._directory = directory
        self._metadata = metadata
        self._owners: dict[str, Package] | None = None
        self._scripts: dict[str, Package] = {}
        self._top: dict[str, set[Package]] = {}

    def exact(self, name: str) -> Package | None:
        """The distribution whose list of files names this one, relative to the directory."""
        return self._read().get(name)

    def find(self, name: str, is_site: bool) -> Package | None:
        """The distribution of a file, by its list, or because it alone is there.

        Args:
            name: of the file, relative to the directory.
            is_site: the directory is for modules alone: what nobody owns is named by its top-level module.
        """
        owners = self._read()
        found = owners.get(name)
        if found is None:
            top = name.partition("/")[0]
            among = self._top.get(top) or self._top.get(_module(top).lower(), set())
            if len(among) == 1:
                return next(iter(among))
            return Package(_module(top)) if is_site else None
        return found

    def script(self, path: str) -> Package | None:
        """The distribution that brought a script, such as `/venv/bin/pip`."""
        self._read()
        return self._scripts.get(path)

    def editable(self) -> Iterator[tuple[str, Package]]:
        """Directories that distributions here are installed from, in place (PEP 610)."""
        for name in self._metadata:
            if not name.endswith(".dist-info"):
                continue
            text = _read_text(os.path.join(self._directory, name, "direct_url.json"), _METADATA_BYTES)
            try:
                said = json.loads(text or "{}")
                url = urlsplit(said["url"])
                if said["dir_info"]["editable"] and url.scheme == "file":
                    yield os.path.normpath(unquote(url.path)), _distribution(self._directory, name)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue

    def _read(self) -> dict[str, Package]:
        if self._owners is None:
            self._owners = {}
            top = defaultdict(set)
            for name in self._metadata:
                package = _distribution(self._directory, name)
                if not os.path.isdir(os.path.join(self._directory, name)):  # no list: of its own name
                    top[re.sub(r"[-_.]+", "_", package.name).lower()].add(package)
                for file in _files(self._directory, name):
                    if file.startswith("../"):
                        path = os.path.normpath(os.path.join(self._directory, file))
                        if os.path.basename(os.path.dirname(path)) == "bin":
                            self._scripts[path] = package
                        continue
                    self._owners[file] = package
                    top[file.partition("/")[0]].add(package)
            self._top = dict(top)
        return self._owners


def _files(directory: str, metadata: str) -> Iterator[str]:
    """The files of a distribution, relative to the directory of its metadata."""
    place = os.path.join(directory, metadata)
    text = _read_text(os.path.join(place, "RECORD"), _RECORD_BYTES)
    if text is not None:
        import csv

        for row in csv.reader(text.splitlines()):
            if row:
                yield os.path.normpath(row[0])
        return
    text = _read_text(os.path.join(place, "installed-files.txt"), _RECORD_BYTES)
    if text is not None:  # relative to the metadata
        for line in text.splitlines():
            yield os.path.normpath(os.path.join(metadata, line))
        return
    # Of Debian, and of `setup.py develop`: names of top-level packages are all there is.
    text = _read_text(os.path.join(place, "top_level.txt"), _METADATA_BYTES) or ""
    for line in text.split():
        yield f"{line}.py"
        yield f"{line}/__init__.py"


def _distribution(directory: str, metadata: str) -> Package:
    """Name and version of a distribution, and when it was installed."""
    place = os.path.join(directory, metadata)
    from email.parser import HeaderParser

    headers = {}
    for name in ("METADATA", "PKG-INFO", ""):  # an .egg-info can be a file
        text = _read_text(os.path.join(place, name) if name else place, _METADATA_BYTES)
        if text is not None:
            headers = dict(HeaderParser().parsestr(text.partition("\n\n")[0]).items())
            break
    stem = metadata.rpartition(".")[0].split("-")
    name = str(headers.get("Name") or stem[0]).strip()[:_NAME_LENGTH]
    version = str(headers.get("Version") or (stem[1] if len(stem) > 1 else "")).strip()[:_NAME_LENGTH]
    changed = (_changed_ns(path) for path in (place, f"{place}/RECORD", f"{place}/METADATA"))
    return Package(name, version or None, max(changed))


def _site(directory: str) -> _Site | None:
    """A directory of installed distributions; None if there are none."""
    changed = _changed_ns(directory)
    return _site_at(directory, changed) if changed else None


@lru_cache(maxsize=_KEPT_DIRECTORIES)
def _site_at(directory: str, changed_ns: int) -> _Site | None:
    try:
        metadata = sorted(name for name in os.listdir(directory) if name.endswith(_METADATA))
    except OSError:
        return None
    return _Site(directory, metadata) if metadata or os.path.basename(directory) in _SITE_NAMES else None


def _archive(path: str, name: str) -> Package | None:
    """The package of a file in a zip file; None if it is none."""
    try:
        state = os.stat(path)
    except OSError:
        return None
    if not stat.S_ISREG(state.st_mode):
        return None
    owners = _archive_at(path, state.st_mtime_ns)
    return owners.get(name) or owners.get("") or Package(os.path.basename(path)[:_NAME_LENGTH])


@lru_cache(maxsize=_KEPT_DIRECTORIES)
def _archive_at(path: str, changed_ns: int) -> dict[str, Package]:
    """The owners of the files in a zip file; under the empty name that of all, if there is one and no list."""
    import csv
    import zipfile
    from email.parser import HeaderParser

    owners: dict[str, Package] = {}
    try:
        with zipfile.ZipFile(path) as file:
            sizes = {member.filename: member.file_size for member in file.infolist()}
            metadata = [
                name for name in sizes if re.fullmatch(r"[^/]+\.dist-info/METADATA|EGG-INFO/PKG-INFO", name)
            ]
            for name in metadata:
                record = f"{os.path.dirname(name)}/RECORD"
                if sizes[name] > _METADATA_BYTES or sizes.get(record, 0) > _RECORD_BYTES:
                    continue
                headers = HeaderParser().parsestr(file.read(name).decode("utf-8", "replace"))
                if not headers["Name"]:
                    continue
                version = headers["Version"]
                package = Package(headers["Name"][:_NAME_LENGTH], version and version[:_NAME_LENGTH], changed_ns)
                if record in sizes:
                    lines = file.read(record).decode("utf-8", "replace").splitlines()
                    owners |= {row[0]: package for row in csv.reader(lines) if row}
                elif len(metadata) == 1:
                    owners[""] = package
    except (OSError, zipfile.BadZipFile, csv.Error, ValueError, NotImplementedError, RuntimeError):
        pass  # what is damaged tells nothing, but for its name
    return owners


@lru_cache(maxsize=16 * _KEPT_DIRECTORIES)
def _project(directory: str) -> Package | None:
    """The project that a directory is in; None: there is none."""
    for place in _upwards(directory):
        text = _read_text(os.path.join(place, "pyproject.toml"), _METADATA_BYTES)
        if text is not None:
            return Package(_project_name(text) or os.path.basename(place) or "/")
        if place != "/" and os.path.lexists(os.path.join(place, ".git")):
            return Package(os.path.basename(place))
    return None


def _project_name(text: str) -> str | None:
    """`name` in `[project]`. Looked for, not parsed: the standard library parses TOML from 3.11 on only."""
    table = _TOML_PROJECT.search(text)
    name = table and _TOML_NAME.search(table[1])
    return name[2][:_NAME_LENGTH] if name else None


def _upwards(directory: str) -> Iterator[str]:
    while True:
        yield directory
        above = os.path.dirname(directory)
        if above == directory:
            return
        directory = above


def _module(name: str) -> str:
    return name.partition(".")[0][:_NAME_LENGTH] or name[:_NAME_LENGTH]


def _changed_ns(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def _read_text(path: str, most: int) -> str | None:
    """A small regular file; None if there is none, or it is too large."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode) or state.st_size > most:
            return None
        return os.read(descriptor, most).decode("utf-8", "replace")
    except OSError:
        return None
    finally:
        os.close(descriptor)
