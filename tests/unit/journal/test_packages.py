"""Files to packages: each rule, and metadata that are not what they should be."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pythonaudit.journal.packages import Package, PackageFinder, finder_for

NAMES = ("RECORD", "METADATA", "direct_url.json", "top_level.txt", "installed-files.txt", "PKG-INFO")


def told(package: Package | None) -> str | None:
    return None if package is None else " ".join(filter(None, (package.name, package.version)))


def write(place: Path, text: str | bytes = "") -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(text if isinstance(text, bytes) else text.encode())
    return place


@pytest.fixture
def site(tmp_path: Path) -> Path:
    site = tmp_path / "lib" / "site-packages"
    for name, version, files in (
        ("One.Name", "1.0", ("one/__init__.py", "shared/a.py")),
        ("two", "2.0", ("two.py", "shared/b.py", "../../bin/two", "../../../../../../../etc/passwd")),
    ):
        info = site / f"{name.lower().replace('.', '_')}-{version}.dist-info"
        write(info / "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nName: not this\n")
        write(info / "RECORD", "".join(f'"{file}",sha256=x,1\n' for file in files))
    old = site / "old-3.0.egg-info"
    write(old / "PKG-INFO", "Name: old\nVersion: 3.0\n")
    write(old / "installed-files.txt", "../old.py\n../oldpkg/x.py\n../../../../etc/passwd\n")
    write(site / "debian-4.0.egg-info" / "PKG-INFO", "Name: debian\nVersion: 4.0\n")
    write(site / "debian-4.0.egg-info" / "top_level.txt", "deb\n")
    write(site / "single-5.0.egg-info", "Name: single\nVersion: 5.0\n")
    return site


@pytest.mark.parametrize(
    ("file", "package"),
    [
        ("one/__init__.py", "One.Name 1.0"),
        ("one/generated.py", "One.Name 1.0"),
        ("one/_vendor/x/y.py", "One.Name 1.0"),
        ("two.py", "two 2.0"),
        ("shared/a.py", "One.Name 1.0"),
        ("shared/b.py", "two 2.0"),
        ("shared/c.py", "shared"),
        ("one/../two.py", "two 2.0"),
        ("old.py", "old 3.0"),
        ("oldpkg/x.py", "old 3.0"),
        ("oldpkg/y.py", "old 3.0"),
        ("deb/x/y.py", "debian 4.0"),
        ("deb.py", "debian 4.0"),
        ("nobody/x.py", "nobody"),
        ("nobody.py", "nobody"),
    ],
)
def test_installed_distributions(site: Path, file: str, package: str) -> None:
    assert told(PackageFinder().package(f"{site}/{file}")) == package


def test_a_directory_of_the_path_with_metadata(tmp_path: Path) -> None:
    target = tmp_path / "vendor"
    write(target / "x-1.0.dist-info" / "METADATA", "Name: x\nVersion: 1.0\n")
    write(target / "x-1.0.dist-info" / "RECORD", "x.py,,\n")
    code = write(target / "mine.py")
    assert told(PackageFinder([str(target)]).package(f"{target}/x.py")) == "x 1.0"
    assert told(PackageFinder().package(f"{target}/x.py")) == "x 1.0"
    assert told(PackageFinder([str(target)]).package(str(code))) == "mine"
    assert told(PackageFinder().package(str(code))) == "vendor"


def test_what_is_installed_later_is_seen(site: Path) -> None:
    path = (str(site),)
    assert told(finder_for(path).package(f"{site}/late.py")) == "late"
    write(site / "late-1.0.dist-info" / "METADATA", "Name: late\nVersion: 1.0\n")
    write(site / "late-1.0.dist-info" / "RECORD", "late.py,,\n")
    os.utime(site, ns=(1, os.stat(site).st_mtime_ns + 1))
    assert told(finder_for(path).package(f"{site}/late.py")) == "late 1.0"


def test_scripts(site: Path) -> None:
    script = str(write(site.parents[1] / "bin" / "two"))
    other = str(write(site.parents[1] / "bin" / "other"))
    assert told(PackageFinder([str(site)]).package(script.replace("bin", "lib/../bin"))) == "two 2.0"
    assert told(PackageFinder([str(site)]).package(other)) == "bin"
    assert told(PackageFinder([str(site)]).package("/etc/passwd")) == "etc"


def test_projects(tmp_path: Path) -> None:
    find = PackageFinder()
    write(tmp_path / "a" / "pyproject.toml", "[tool.x]\nname = 'no'\n[project]\n  name='shop' # our own\n")
    write(tmp_path / "a" / "b" / "pyproject.toml", "[tool.x]\nname = 'no'\n")
    (tmp_path / "a" / "c" / ".git").mkdir(parents=True)
    for place, package in (("a/x.py", "shop"), ("a/b/x.py", "b"), ("a/c/d/x.py", "c"), ("e/x.py", "e")):
        assert told(find.package(str(write(tmp_path / place)))) == package
    assert find.package(str(tmp_path / "gone" / "x.py")) is None
    assert find.package("relative.py") is None
    assert find.package("<string>") is None


def test_who_brought_a_pth_file(site: Path) -> None:
    with open(site / "two-2.0.dist-info" / "RECORD", "a") as file:
        file.write("two.pth,,\n")
    assert told(PackageFinder().owner(f"{site}/two.pth")) == "two 2.0"
    assert told(PackageFinder().owner(f"{site}/evil.pth")) == "evil.pth"
    assert told(PackageFinder().owner("/nowhere/evil.pth")) == "evil.pth"


def test_what_is_no_file_is_not_read(site: Path) -> None:
    info = site / "odd-1.0.dist-info"
    info.mkdir()
    os.mkfifo(info / "RECORD")
    os.mkfifo(info / "METADATA")
    assert told(PackageFinder([str(site)]).package(f"{site}/odd.py")) == "odd"


@given(st.dictionaries(st.sampled_from(NAMES), st.binary(max_size=200), max_size=6), st.binary(max_size=100))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_metadata(tmp_path_factory: pytest.TempPathFactory, texts: dict[str, bytes], toml: bytes) -> None:
    place = tmp_path_factory.mktemp("any")
    site = place / "site-packages"
    (site / "any-1.0.dist-info").mkdir(parents=True)
    for name, text in texts.items():
        write(site / "any-1.0.dist-info" / name, text)
    write(place / "pyproject.toml", toml)
    write(place / "damaged.zip", b"PK\x03\x04" + toml)
    find = PackageFinder([str(site)])
    assert find.package(f"{site}/any/x.py") is not None
    assert find.package(str(write(place / "x.py"))) is not None
    assert told(find.package(f"{place}/damaged.zip/x.py")) == "damaged.zip"


def test_zip_bombs_are_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x-1.dist-info/METADATA", "Name: x\n" * 10_000_000)
    assert told(PackageFinder().package(f"{tmp_path}/bomb.zip/x.py")) == "bomb.zip"
