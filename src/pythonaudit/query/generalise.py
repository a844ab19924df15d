r"""What is the same in two runs, although it is spelled differently: paths, commands, addresses without what varies.

>>> places = Places(directory="/ci/4711/shop", prefixes=("/ci/4711/venv",))
>>> generalise_path("/ci/4711/venv/lib/python3.11/site-packages/requests-2.32.3.dist-info/RECORD", places)
'<site>/requests-*.dist-info/RECORD'
>>> generalise_path("/ci/4711/shop/out/report.csv", places)
'./out/report.csv'
>>> generalise_path("/tmp/pip-install-x8f2kd_1/setup.py", places), generalise_path("/home/alice/.aws/credentials", places)
('/tmp/pip-install-*/setup.py', '~/.aws/credentials')
>>> generalise_command("/ci/4711/venv/bin/python -c pass --port=43049", places)
'<prefix>/bin/python -c pass --port=*'
>>> generalise_address("127.0.0.1", 43049), generalise_address("10.0.0.9", 443)
('127.0.0.1:*', '10.0.0.9:443')

The rules, in order. What no rule names stays as it is: a word of letters never disappears but for names that
`tempfile` and `mktemp` make. docs/guide/diff.md says the same to users.

1. Where it lies, the longest that fits: `.../site-packages` and `.../dist-packages` are `<site>`, the
   `lib/python3.11` of any installation is `<stdlib>`, `sys.prefix` (none of `/`, `/usr`, `/usr/local`) is
   `<prefix>`, the directory of the run is `.`, `/home/NAME` and `/root` are `~`, `/run/user/UID` is
   `<runtime>`, what `tempfile` chose for its directory (TMPDIR) is `/tmp`.
2. `/proc/PID` is `/proc/<pid>`, its `task/TID` and `fd/N` too, `/dev/pts/N` is `/dev/pts/*`.
3. Names that `tempfile` made in the run itself (`Places.made`), wherever they are: their eight characters are `*`.
   `tmp` or `temp` with eight such characters, with or without `-`, `_` or `.` between, anywhere. Right below a
   temporary directory (`/tmp`, `/var/tmp`, `/dev/shm`, `<runtime>`): these after any prefix, if there is a digit
   among them; `tmp.XXXXXXXXXX` of mktemp, `ccXXXXXX.s` of compilers; all numbers, there and in the part below.
   `pymp-XXXXXXXX/listener-XXXXXXXX`, a socket of multiprocessing, whose name no event tells.
4. In each part: UUIDs, hashes (8 or more hexadecimal digits, both letters and digits, or 32 of any), dates with
   or without times, versions (`2.32.3`, `1.0rc1`), numbers of five digits and more; `.cpython-311-x86_64-linux-gnu`.
   Parts of one or two digits before a hash of 28 or more that begins with them, as caches fan them out, go with it;
   in temporary directories, in `.cache` and in `.git/objects` any part of two hexadecimal digits does.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

EPHEMERAL = 32768  # ports from here on are given out by Linux

_COMMON_PREFIXES = frozenset({"", "/usr", "/usr/local"})
_HOME = re.compile(r"/(?:home/[^/]+|root)(?=/|$)")
_SITE = re.compile(r"(.*?/(?:site|dist)-packages)(?=/|$)")
_STDLIB = re.compile(r"(.*?/(?:lib|lib64)/python3(?:\.\d+t?)?)(?=/|$)")
_RUNTIME = re.compile(r"/run/user/\d+(?=/|$)")
_TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm", "<runtime>")

_PROC = re.compile(r"^/proc/\d+(?=/|$)")
_PROC_PART = re.compile(r"^(/proc/[^/]+/(?:task|fd|fdinfo)/)\d+")
_PTS = re.compile(r"^/dev/pts/\d+$")

_MADE = re.compile(r"^(.*)[a-z0-9_]{8}((?:\..*)?)$")
_TEMPFILE = re.compile(r"(?<![A-Za-z0-9])(te?mp[-_.]?)[a-z0-9_]{8}(?![A-Za-z0-9_])")
_IN_TEMPORARY = (
    re.compile(r"^(.*?[-_.A-Za-z])(?=[a-z_]*\d)[a-z0-9_]{8}(\.\w+)?$"),
    re.compile(r"^(tmp\.)[A-Za-z0-9]{6,12}()$"),
    re.compile(r"^(cc)[A-Za-z0-9]{6}(\.(?:c|s|o|ld|le|res|cdtor\.[co]))$"),
)
_LISTENER = re.compile(r"(/pymp-)[a-z0-9_]{8}(/(?:listener|sock)-)[a-z0-9_]{8}$")
_NUMBER = re.compile(r"\d+")
_ABI = re.compile(r"\.(?:cpython-\d+t?|pypy\d+-pp\d+|abi3)(?:-[\w-]+)?(?=\.(?:so|pyc)\b|\.opt-\d\.pyc)")
_VARIES = re.compile(
    r"""
    (?<![0-9A-Za-z])[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}(?![0-9A-Za-z])   # a UUID
    | (?<![0-9A-Za-z])(?:[0-9a-f]{32,}|(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{8,})(?![0-9A-Za-z])  # a hash
    | (?<!\d)(?:19|20)\d\d-?[01]\d-?[0-3]\d(?:[T_\s-]?[0-2]\d[:._-]?\d\d(?:[:._-]?\d\d(?:[.,]\d+)?)?Z?)?(?!\d)
    | (?<!\d)(?<!\d\.)\d+(?:\.\d+)+(?:[-.]?(?:a|b|c|rc|alpha|beta|dev|post)\.?\d*)*(?:\+[\w.]+)?(?!\d)  # a version
    | \d{5,}
    """,
    re.VERBOSE,
)
_FANNED = re.compile(r"((?:/[0-9a-f]{1,2})+)/([0-9a-f]{28,})(?![^./])")
_PAIRS = re.compile(r"(?:/[0-9a-f]{2}(?=/|$))+(?:/\*(?=/|$))*")
_CACHE = re.compile(r"^(.*?/(?:\.cache|\.git/objects))(/.*)$")
_STARS = re.compile(r"\*(?:[-_.]?\*)+")
_OPTION = re.compile(r"^(--?[A-Za-z][\w-]*=)(.*)$", re.DOTALL)
_LOOPBACK_NAMES = frozenset({"localhost", "ip6-localhost", "localhost.localdomain"})
_SCHEME_PORTS = {"http": 80, "https": 443, "ftp": 21, "ws": 80, "wss": 443}


@dataclass(frozen=True, slots=True)
class Places:
    """What is where for a run.

    Attributes:
        directory: where it was begun, which is `.`; None: paths stay absolute.
        prefixes: `sys.prefix` of its interpreters.
        temporary: directories that `tempfile` chose in the run, such as TMPDIR; they are `/tmp`.
        made: names of files and directories that `tempfile` made up, and what stands for each (`name_made`).
    """

    directory: str | None = None
    prefixes: tuple[str, ...] = ()
    temporary: tuple[str, ...] = ()
    made: Mapping[str, str] = field(default_factory=dict)

    def locate(self, path: str) -> tuple[str, str]:
        """The name of the place in which an absolute path lies, and the rest of it; the first may be empty."""
        found = ("", path)
        longest = 0
        for directory, name in self._known(path):
            if len(directory) > longest and (path == directory or path.startswith(directory + "/")):
                longest, found = len(directory), (name, path[len(directory) :])
        return found

    def _known(self, path: str) -> list[tuple[str, str]]:
        known = [(prefix.rstrip("/"), "<prefix>") for prefix in self.prefixes]
        known = [place for place in known if place[0] not in _COMMON_PREFIXES]
        if self.directory and _is_own(self.directory):
            known.append((self.directory, "."))
        known += [(directory, "/tmp") for directory in self.temporary if _is_own(directory)]
        for form, name in ((_HOME, "~"), (_RUNTIME, "<runtime>"), (_STDLIB, "<stdlib>"), (_SITE, "<site>")):
            match = form.match(path)
            if match:
                known.append((match.group(), name))
        return known


def name_made(name: str) -> str | None:
    """What stands for a name that `tempfile` made up; None: the rules for any name do.

    >>> name_made("RECORDpqbs8oga.tmp")
    'RECORD*.tmp'
    """
    made = _MADE.sub(r"\1*\2", name)
    return made if made not in (name, _part(name, {})) else None


def generalise_path(path: str, places: Places) -> str:
    """A path, absolute or not."""
    if not path.startswith("/"):
        return _parts(path, places.made)
    path = _PTS.sub("/dev/pts/*", _PROC_PART.sub(r"\1*", _PROC.sub("/proc/<pid>", path)))
    path = _LISTENER.sub(r"\1*\2*", path)
    name, rest = places.locate(path)
    whole = name + rest
    for temporary in _TEMPORARY:
        if whole.startswith(temporary + "/"):
            return temporary + _below_temporary(whole[len(temporary) :], places.made)
    cache = _CACHE.match(rest)
    if cache:
        return name + _parts(cache[1], places.made) + _PAIRS.sub("/*", _parts(cache[2], places.made))
    return name + _parts(rest, places.made)


def generalise_command(command: str, places: Places) -> str:
    """A command line, word by word: paths as paths, `--option=VALUE` by its value."""
    return " ".join(_word(word, places) for word in command.split())


def generalise_address(address: str, port: int | None, asked: str | None = None) -> str:
    """Host and port. Ports that are given out at random on this host itself are `*`.

    Args:
        address: a name or an address.
        port: None: there is none.
        asked: the name that was looked up for it. It stands for the address, unless this leads back to the host
            or its link: there the address says more than the name.
    """
    number = _ip(address)
    if number is None:
        is_loopback = address.lower() in _LOOPBACK_NAMES
    else:
        is_loopback = number.is_loopback or number.is_unspecified
        if asked and not (is_loopback or number.is_link_local or number.is_multicast):
            address, number = asked, _ip(asked)
    if is_loopback and port is not None and (port >= EPHEMERAL or port == 0):
        return f"{_bracketed(address)}:*"
    return _bracketed(address) if port is None else f"{_bracketed(address)}:{port}"


def generalise_url(url: str) -> str:
    """What a URL connects to: host and port."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return generalise_text(url)
    if not host:
        return generalise_text(url)
    return generalise_address(host, port or _SCHEME_PORTS.get(parts.scheme))


def generalise_text(text: str) -> str:
    """Any text: rule 4, and `tmpXXXXXXXX`."""
    return _parts(text, {})


def _word(word: str, places: Places) -> str:
    option = _OPTION.match(word)
    if option:
        return option[1] + _word(option[2], places)
    return generalise_path(word, places)


def _parts(text: str, made: Mapping[str, str]) -> str:
    return _STARS.sub("*", "/".join(_part(part, made) for part in _FANNED.sub(_unfan, text).split("/")))


def _unfan(match: re.Match[str]) -> str:
    """Parts before a hash, without those that are its own beginning."""
    parts, digest = match[1].split("/")[1:], match[2]
    begin = next((at for at in range(len(parts)) if digest.startswith("".join(parts[at:]))), len(parts))
    return "/".join(["", *parts[:begin], digest])


def _part(part: str, made: Mapping[str, str]) -> str:
    return _VARIES.sub("*", _ABI.sub(".*", _TEMPFILE.sub(r"\1*", made.get(part, part))))


def _below_temporary(rest: str, made: Mapping[str, str]) -> str:
    first, *more = rest[1:].split("/")
    if first not in made:
        for form in _IN_TEMPORARY:
            short = form.sub(r"\1*\2", first)
            if short != first:
                first = short
                break
    parts = [_NUMBER.sub("*", _part(part, made)) for part in (first, *more[:1])]
    below = _parts("/" + "/".join(more[1:]), made) if more[1:] else ""
    return _PAIRS.sub("/*", _STARS.sub("*", "/" + "/".join(parts)) + below)


def _is_own(directory: str) -> bool:
    """Whether a directory is that of a project: not `/`, a directory of the system, or a home."""
    return directory.count("/") > 1 and not (_HOME.fullmatch(directory) or directory in _TEMPORARY)


def _ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
