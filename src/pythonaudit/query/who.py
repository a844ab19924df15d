"""Who did what to what: the packages and lines of code behind one kind of act.

    query = build_query("opens", "/etc/*", "SELECT * FROM events")
    Result(connection, query)     # package, count, first, last, line of code, an example

An act is a set of events, and what of them a pattern is held against: any of several texts, so that `who runs
git` finds the program by its name and `who runs 'git push*'` by its command line. A pattern is a glob over the
whole of one of them; case counts.
"""

from __future__ import annotations

from dataclasses import dataclass

from pythonaudit.query.where import literal, matches

WRITING = (
    *("os.chflags", "os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.removexattr", "os.rename"),
    *("os.rmdir", "os.setxattr", "os.symlink", "os.truncate", "os.utime", "shutil.chown", "shutil.copyfile"),
    *("shutil.copymode", "shutil.copystat", "shutil.copytree", "shutil.make_archive", "shutil.move"),
    *("shutil.rmtree", "shutil.unpack_archive", "tempfile.mkdtemp", "tempfile.mkstemp"),
)
_BASENAME = "regexp_extract({}, '[^/]*$')"


@dataclass(frozen=True, slots=True)
class Act:
    """One kind of act.

    Attributes:
        summary: what it is, for --help.
        events: names of the events that show it.
        subjects: what the pattern is held against, expressions over columns of `events`.
        shown: what stands as an example, an expression.
        condition: further condition on the event, or empty.
    """

    summary: str
    events: tuple[str, ...]
    subjects: tuple[str, ...]
    shown: str
    condition: str = ""


_PATHS = ("path", "full_path", "target", "full_target")
_ADDRESSES = (
    "address",
    "address || ':' || port",
    "url",
    "regexp_extract(url, '^\\w+://([^/?#]*@)?([^/?#:]*)', 2)",
)
_CODE_FILE = "coalesce(path, args ->> '$[0].\"$code\".file', args ->> '$[0].file')"

ACTS = {
    "opens": Act(
        "open a file or a database",
        ("open", "sqlite3.connect", "ctypes.dlopen"),
        ("path", "full_path"),
        "full_path",
    ),
    "writes": Act(
        "open a file to write, or change, create, rename or remove one",
        ("open", *WRITING),
        _PATHS,
        "coalesce(full_path || ' -> ' || full_target, full_path)",
        # The mode of open(), or the flags of os.open(): O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND of Linux.
        "(event <> 'open' OR regexp_matches(args ->> 1, '[wax+]')"
        " OR ((args ->> 1) IS NULL AND (TRY_CAST(args ->> 2 AS BIGINT) & 1603) <> 0))",
    ),
    "imports": Act(
        "import a module",
        ("import", "cpython.run_module"),
        ("module", "path", "full_path"),
        "coalesce(module, path)",
    ),
    "runs": Act(
        "start a program, or become another one",
        (
            *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn"),
            *("_posixsubprocess.fork_exec", "webbrowser.open"),
        ),
        ("command", "path", _BASENAME.format("path"), _BASENAME.format("regexp_extract(command, '^\\S*')")),
        "coalesce(command, path, url)",
    ),
    "connects": Act(
        "connect or send to an address",
        (
            *("socket.connect", "socket.sendto", "socket.sendmsg", "http.client.connect", "urllib.Request"),
            *("ftplib.connect", "imaplib.open", "nntplib.connect", "poplib.connect", "smtplib.connect"),
            "telnetlib.Telnet.open",
        ),
        _ADDRESSES,
        "coalesce(url, address || ':' || port, address)",
    ),
    "resolves": Act(
        "ask for the address of a name, or the name of an address",
        ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"),
        ("address",),
        "address",
    ),
    "unpickles": Act(
        "let a pickle name a class or function",
        ("pickle.find_class",),
        ("module || '.' || (args ->> 1)", "module"),
        "module || '.' || (args ->> 1)",
    ),
    "evals": Act(
        "compile or run code that is made at run time",
        ("compile", "exec", "code.__new__"),
        (_CODE_FILE,),
        _CODE_FILE,
    ),
}


def build_query(act: str, pattern: str, events: str) -> str:
    """The SELECT: one row for each line of code that did it, the most frequent first.

    Args:
        act: a key of `ACTS`.
        pattern: a glob.
        events: a SELECT of the events that are looked at.
    """
    known = ACTS[act]
    names = ", ".join(map(literal, known.events))
    conditions = [f"event IN ({names})"]
    if pattern != "*":
        conditions.append("(" + " OR ".join(matches(subject, [pattern]) for subject in known.subjects) + ")")
    if known.condition:
        conditions.append(known.condition)
    return f"""
        SELECT package, version, count(*) AS count, min(time) AS first, max(time) AS last,
            file, line, function, arg_max({known.shown}, time_ns) AS example
        FROM ({events}) AS events
        WHERE {" AND ".join(conditions)}
        GROUP BY package, version, file, line, function
        ORDER BY count DESC, file, line
    """
