"""What counts as secret, and what does not: golden pairs."""

from __future__ import annotations

import pytest

from tests.native.encode_probe import load
from tests.native.json_forms import parse

probe = load()


def masked(value: object, rule: int) -> object:
    text, notes, _ = probe.encode((value,), bytes([rule]))
    (found,) = parse(text)
    assert bool(notes & probe.MASKED) == (found != value)
    return found


@pytest.mark.parametrize(
    "name",
    [
        *("password", "PASSWORD", "db_password", "userPassword", "password1", "mysql.passwd", "pwd", "passphrase"),
        *(
            "passcode",
            "secret",
            "client_secret",
            "SECRET_KEY",
            "token",
            "access-token",
            "X-Auth-Token",
            "csrfToken",
        ),
        *("apikey", "api_key", "X-API-Key", "access.key", "AWS_ACCESS_KEY_ID", "private_key", "authorization"),
        *("Proxy-Authorization", "credentials", "cookie", "Set-Cookie", "sessionid", "PHPSESSID", "session_key"),
        *(
            "AccountKey",
            "auth",
            "x-auth",
            "basicAuth",
            "auth_user",
            "db_pass",
            "PASS",
            "dbPass",
            "pw",
            "psk",
            "sig",
        ),
        *("X-Amz-Signature", "otp", "signing_key", "storepass", "x" * 300 + "password", "bearer"),
        *(
            "jwt",
            "id_jwt",
            "csrf",
            "x-csrf",
            "csrfmiddlewaretoken",
            "session",
            "user_session",
            "rack.session",
            "sid",
        ),
        *("SID", "connect.sid", "max_tokens", "secret_arn", "tokens"),
    ],
)
def test_secret_names(name: str) -> None:
    assert probe.is_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "a",
            "key",
            "user",
            "username",
            "author",
            "authority",
            "authenticated",
            "oauth",
            "compass",
            "passenger",
        ),
        *(
            "bypass",
            "pass_through_mode_type",
            "monkey",
            "keyboard",
            "keyword",
            "session_timeout",
            "signal",
            "design",
            "assign",
        ),
        *(
            "significant",
            "PWD",
            "OLDPWD",
            "password_file",
            "token_type",
            "token_count",
            "secretPath",
            "cookie-jar",
        ),
        *("password_length", "path", "name", "id", "hash", "public_key", "topic", "optional", "spwn", "_", "-.-"),
        *(
            "tokenizer",
            "tokenize",
            "secretary",
            "auth_method",
            "secret-name",
            "cookie_name",
            "session_state",
            "reside",
        ),
    ],
)
def test_other_names(name: str) -> None:
    assert not probe.is_secret(name)


UNTOUCHED = [
    "",
    "/usr/lib/python3/dist-packages/x.py",
    "a=b",
    "key=value",
    "User logged in: username=johndoe, ip=192.168.0.1",
    "2026-11-22 14:30:33.123 INFO: it works: yes",
    "SELECT * FROM users WHERE id = 5",
    "C:\\Users\\joe",
    "http://localhost:8080/path?q=1&r=2#top",
    "see https://example.com/a@b and mail joe@example.com",
    "http://[::1]:80/x@y",
    "/etc/passwd: No such file or directory",
    "the password is required",
    "enter the password: ",
    "password=",
    'password=""',
    "password:\nsomething else",
    "keyboard=us layout=token",
    "PWD=/home/alice OLDPWD=/",
    "def f(a: int = 3) -> str: return a == 4",
    '{"user": "joe", "ids": [1, 2]}',
    "max_tokens=100 total-tokens: 123456, cookies=3",
    "Config(max_tokens=100, has_password=True)",
    '{"has_password": false, "tokens":12}',
    "password=None token: null secret=no auth=YES",
    "tokenizer=fast secretary=jane auth_method=plain",
    "app --secret-name n --password-file f --no-password y",
    "app --max-tokens 100 --verbose",
    "a - password b, non-token c, --password --verbose --token",
    "the Bearer of news, Basic functionality, Basic Auth, bearer eyJ",
    "joe@example.com",
    "mailto:joe@example.com",
    "run/a:b@c",
    "/tmp/a:b@c",
    "git@github.com:owner/name",
    "localhost:8080",
    "fe80::1%eth0",
    "file:/tmp/x@y.db?mode=memory&cache=shared",
    ":memory:",
    "=====", ":::::", "://", "=", ":", "a://@", "\u20ac=\u20ac: \u20ac",
]  # fmt: skip


@pytest.mark.parametrize("text", UNTOUCHED)
@pytest.mark.parametrize("rule", ["VALUE", "PATH", "COMMAND", "URL"])
def test_ordinary_text_is_untouched(text: str, rule: str) -> None:
    assert masked(text, getattr(probe, rule)) == text
    assert masked(text.encode(), getattr(probe, rule)) == text.encode()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("password=hunter2", "password=***"),
        ("password=hunter2 user=joe", "password=*** user=joe"),
        ("user=joe&password=a&b=c", "user=joe&password=***&b=c"),
        ("password=a,b", "password=***,b"),
        ("password=a;b", "password=***;b"),
        ("Password: hunter2\nnext", "Password: ***\nnext"),
        ("password : x y", "password : *** y"),
        ("password = x y", "password = *** y"),
        ("password := x", "password := ***"),
        ("'password' => 'x y', 1", "'password' => '***', 1"),
        ("if password == 'x y':", "if password == '***':"),
        ('password="a b", c', 'password="***", c'),
        ("password='a\\'b' c", "password='***' c"),
        ("password='a b", "password='***"),
        ('password="""a"b""" c', 'password="""***""" c'),
        ("password=b'a b' c", "password=b'***' c"),
        ("password=\"a\"'b c' d", "password=\"*** c' d"),
        ("password=\\ x y", "password=*** y"),
        ('{"password": "a\\"b", "user": "joe"}', '{"password": "***", "user": "joe"}'),
        ('{"password":12345}', '{"password":***}'),
        ('{"tokens": ["a", "b"], "n": 1}', '{"tokens": ***, "n": 1}'),
        ("{'cookies': {'a': 'b', 'c': 'd'}}", "{'cookies': ***}"),
        ('"{\\"password\\": \\"a b\\", \\"c\\": 1}"', '"{\\"password\\": \\"***\\", \\"c\\": 1}"'),
        ('\\"password\\": \\"a\\\\\\"b\\", c', '\\"password\\": \\"***\\", c'),
        ("os.environ['DB_PASSWORD'] = 'x y'", "os.environ['DB_PASSWORD'] = '***'"),
        ("Config(user='a', secret_key='b', c=1)", "Config(user='a', secret_key='***', c=1)"),
        ("Authorization: Bearer abc.def-ghi\r\nHost: x", "Authorization: ***\r\nHost: x"),
        ("GET / HTTP/1.1\r\nCookie: a=b; c=d\r\n\r\n", "GET / HTTP/1.1\r\nCookie: ***\r\n\r\n"),
        ("Set-Cookie: a=b; Path=/", "Set-Cookie: ***"),
        ("['-H', 'Authorization: Bearer a b', 'x']", "['-H', 'Authorization: ***', 'x']"),
        ("{'Authorization': 'Bearer a b', 'x': 1}", "{'Authorization': '***', 'x': 1}"),
        ("'password=a b' c", "'password=***' c"),
        ("it's 'password=a b", "it's 'password=*** b"),
        ("token: Bearer abc def", "token: *** def"),
        ("auth=Basic dXNlcjpwYXNz rest", "auth=*** rest"),
        ("http://joe:hunter2@example.com/x", "http://***@example.com/x"),
        ("https://ghp_abc@github.com/x", "https://***@github.com/x"),
        ("postgres://u:p@ss@h/db", "postgres://***@h/db"),
        ("postgres://u:p/w#x?y@h:5/db and more", "postgres://***@h:5/db and more"),
        ("a://u:p@h b://v:q@i", "a://***@h b://***@i"),
        ("http://h/?token=abc&x=1", "http://h/?token=***&x=1"),
        ("https://s3/x?X-Amz-Signature=ab&a=b", "https://s3/x?X-Amz-Signature=***&a=b"),
        ("Server=x;AccountKey=abc==;y", "Server=x;AccountKey=***;y"),
        ("token=a token=b", "token=*** token=***"),
        ("PGPASSWORD=x psql", "PGPASSWORD=*** psql"),
        ("h\u00e9 password=\u20ac\u20ac n\u00e9", "h\u00e9 password=*** n\u00e9"),
        ("--token X", "--token ***"),
        ("run --password 'a b' next", "run --password '***' next"),
        ("run --jwt X -auth Y", "run --jwt *** -auth ***"),
        ("run --token a=b:c end", "run --token *** end"),
        ("sh -c 'app --token X' y", "sh -c 'app --token ***' y"),
        ("usage: app [--token TOKEN] [-v]", "usage: app [--token ***] [-v]"),
        ("['app', '--token', 'a b', 'x']", "['app', '--token', '***', 'x']"),
        ('["--token","X"]', '["--token","***"]'),
        ("jwt=X session=Y; sid=Z, csrf: W", "jwt=*** session=***; sid=***, csrf: ***"),
        ("tokens=1234567 token=5 tokens=1a", "tokens=*** token=*** tokens=***"),
        ("password=nope secret='no'", "password=*** secret='***'"),
        ("got Bearer eyJhbGciOiJIUzI1NiJ9.e30.x-y_z, ok", "got Bearer ***, ok"),
        ("bearer  0123456789abcdef", "bearer  ***"),
        ("sent Basic dXNlcjpwYXNz here", "sent Basic *** here"),
        ("Authorization Bearer abc x", "Authorization Bearer *** x"),
        ("token=1 " * 40, "token=*** " * 31 + "token=***"),
    ],
)
def test_secrets_in_text(text: str, wanted: str) -> None:
    assert masked(text, probe.VALUE) == wanted
    assert masked(text.encode(), probe.VALUE) == wanted.encode()
    assert masked([text], probe.VALUE) == [wanted]


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        ("bob:PW@127.0.0.1", "***@127.0.0.1"),
        ("bob:P/W@host:80", "***@host:80"),
        ("bob:P@W@[::1]", "***@[::1]"),
        (":PW@host", "***@host"),
        ("bob:PW@host/x?token=T", "***@host/x?token=***"),
        ("file:PW@host", "***@host"),
        ("http://bob:PW@host/?sid=5", "http://***@host/?sid=***"),
    ],
)
def test_userinfo_of_hosts(host: str, wanted: str) -> None:
    assert masked(host, probe.URL) == wanted
    assert masked(host.encode(), probe.URL) == wanted.encode()
    assert masked((host, 80), probe.URL) == [wanted, 80]


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("file:x?mode=memory&password=PW", "file:x?mode=memory&password=***"),
        ("file:///data/token=5?password=PW#end", "file:///data/token=5?password=***"),
        ("FILE:x?token=5&vfs=unix", "FILE:x?token=***&vfs=unix"),
        ("/data/password=5?token=6", "/data/password=5?token=6"),
        ("file:/data/password=5", "file:/data/password=5"),
    ],
)
def test_secrets_in_file_uris(path: str, wanted: str) -> None:
    assert masked(path, probe.PATH) == wanted
    assert masked(path.encode(), probe.PATH) == wanted.encode()


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (["--password", "X"], ["--password", "***"]),
        (["app", "--token", "X", "Y"], ["app", "--token", "***", "Y"]),
        ([b"app", b"--token", b"X"], [b"app", b"--token", "***"]),
        (["app", "--token", 5, "Y"], ["app", "--token", "***", "Y"]),
        (["app", "--token", "--verbose", "Y"], ["app", "--token", "--verbose", "Y"]),
        (
            ["app", "--no-password", "X", "--password-file", "f"],
            ["app", "--no-password", "X", "--password-file", "f"],
        ),
        (["app", "--max-tokens", "100", "--max-tokens", 100], ["app", "--max-tokens", "100", "--max-tokens", 100]),
        (["app", "--token", ["--x"], "Y"], ["app", "--token", "***", "Y"]),
        ([["--token"], "X"], [["--token"], "X"]),
        (("password", "X"), ["password", "***"]),
        ([("user", "joe"), ("password", "X")], [["user", "joe"], ["password", "***"]]),
        ([(b"authorization", b"Bearer x")], [[b"authorization", "***"]]),
        ({"headers": [("Cookie", "a")]}, {"headers": [["Cookie", "***"]]}),
        (("password", 5), ["password", 5]),
        (("has_password", "true"), ["has_password", "true"]),
        (("password", "X", "Y"), ["password", "X", "Y"]),
        (("user", "password"), ["user", "password"]),
        ({"max_tokens": 100, "token": 100}, {"max_tokens": 100, "token": "***"}),
        ({"tokens": 1000000, "cookies": -1}, {"tokens": "***", "cookies": "***"}),
        ({"has_password": "False", "tokens": "12"}, {"has_password": "False", "tokens": "12"}),
        ({"tokens": ["a"], "password": None}, {"tokens": "***", "password": None}),
    ],
    ids=repr,
)
def test_secrets_in_containers(value: object, wanted: object) -> None:
    text, notes, _ = probe.encode((value,), bytes([probe.VALUE]))
    assert parse(text) == [wanted]
    assert bool(notes & probe.MASKED) == (b"***" in text)


def test_options_among_the_arguments_of_an_event() -> None:
    text, notes, _ = probe.encode(("--token", "X", "Y"))
    assert parse(text) == ["--token", "***", "Y"]
    assert notes == probe.MASKED


def test_paths_are_no_options() -> None:
    assert masked(["--password", "X"], probe.PATH) == ["--password", "X"]


def test_secrets_that_are_cut_off() -> None:
    def end(text: str) -> object:
        value = masked("x" * (4096 - len(text)) + text + "-more", probe.VALUE)
        assert isinstance(value, str)
        return value.lstrip("x")

    assert end(" http://user:pass") == " http://***"
    assert end(" password='abc") == " password='***"
    assert end(" password=abc") == " password=***"
    assert end(" password=no") == " password=***"
    assert end(" --token abc") == " --token ***"
    assert end(" Bearer ey") == " Bearer ***"


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["app", "--password", "x", "y"], ["app", "--password", "***", "y"]),
        (["app", "--password=x y,z", "PASSWORD=a b&c"], ["app", "--password=***", "PASSWORD=***"]),
        (["app", "--password=x", "y"], ["app", "--password=***", "y"]),
        (["app", "-password", "x"], ["app", "-password", "***"]),
        (["app", "--api-key", "x"], ["app", "--api-key", "***"]),
        (["app", "--password", "--verbose"], ["app", "--password", "--verbose"]),
        (["app", "--password", "-x"], ["app", "--password", "***"]),
        (
            ["app", "--password-file", "f", "--no-password", "y"],
            ["app", "--password-file", "f", "--no-password", "y"],
        ),
        (["docker", "login", "--password-stdin", "h"], ["docker", "login", "--password-stdin", "h"]),
        (["docker", "login", "-u", "me", "-p", "x", "h"], ["docker", "login", "-u", "me", "-p", "***", "h"]),
        (["docker", "run", "-p", "80:80", "i"], ["docker", "run", "-p", "80:80", "i"]),
        (["/usr/bin/curl", "-u", "a:b", "u"], ["/usr/bin/curl", "-u", "***", "u"]),
        (["curl", "-ua:b", "u"], ["curl", "-u***", "u"]),
        (["curl", "-sSu", "a:b", "u"], ["curl", "-sSu", "***", "u"]),
        (["curl", "--user", "a:b"], ["curl", "--user", "***"]),
        (["curl", "--user=a:b"], ["curl", "--user=***"]),
        (["curl", "-H", "Authorization: Bearer a b", "u"], ["curl", "-H", "Authorization: ***", "u"]),
        (["curl", "-d", "user=a&password=b", "u"], ["curl", "-d", "user=a&password=***", "u"]),
        (["curl", "https://a:b@h/"], ["curl", "https://***@h/"]),
        (["sshpass", "-p", "x", "ssh", "-p", "22", "h"], ["sshpass", "-p", "***", "ssh", "-p", "22", "h"]),
        (["sshpass", "-px", "ssh", "h"], ["sshpass", "-p***", "ssh", "h"]),
        (["mysql", "-uroot", "-px", "db"], ["mysql", "-uroot", "-p***", "db"]),
        (["mysql", "-p", "db"], ["mysql", "-p", "db"]),
        (["sudo", "-u", "me", "mysql", "-px"], ["sudo", "-u", "me", "mysql", "-p***"]),
        (["openssl", "rsa", "-passin", "pass:x"], ["openssl", "rsa", "-passin", "pass:***"]),
        (["redis-cli", "-a", "x", "ping"], ["redis-cli", "-a", "***", "ping"]),
        (
            ["aws", "configure", "set", "aws_secret_access_key", "x"],
            ["aws", "configure", "set", "aws_secret_access_key", "***"],
        ),
        (["env", "PGPASSWORD=x", "psql"], ["env", "PGPASSWORD=***", "psql"]),
        (["sh", "-c", "mysql -px db"], ["sh", "-c", "mysql -p*** db"]),
        (
            ["git", "-c", "http.extraheader=AUTHORIZATION: basic x"],
            ["git", "-c", "http.extraheader=AUTHORIZATION: ***"],
        ),
        (["ssh", "-p", "22", "h", "ls", "-l"], ["ssh", "-p", "22", "h", "ls", "-l"]),
        (["python", "-c", "print(1)", "-p", "x"], ["python", "-c", "print(1)", "-p", "x"]),
        (["app", "has_password=True", "max_tokens=5"], ["app", "has_password=True", "max_tokens=5"]),
        (["app", "--max-tokens", "100", "--token", "100"], ["app", "--max-tokens", "100", "--token", "***"]),
        (["app", "--jwt", "x", "--secret-name", "n"], ["app", "--jwt", "***", "--secret-name", "n"]),
        (["tool", "--token", "", "x"], ["tool", "--token", "", "x"]),
    ],
    ids=" ".join,
)
def test_secrets_in_lists_of_arguments(words: list[str], wanted: list[str]) -> None:
    assert masked(words, probe.COMMAND) == wanted
    assert masked([word.encode() for word in words], probe.COMMAND) == [word.encode() for word in wanted]


def test_options_reach_over_what_is_no_text() -> None:
    assert masked(["app", "--password", 5, "x"], probe.COMMAND) == ["app", "--password", "***", "x"]


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        ("ls -l /tmp", "ls -l /tmp"),
        ("mysql -psecret db", "mysql -p*** db"),
        ("mysql -p'a b' db; echo -pnot", "mysql -p*** db; echo -pnot"),
        ("app --password 'a b' next", "app --password *** next"),
        ("app --password a\\ b next", "app --password *** next"),
        ("app '--password=a b' next", "app '--password=***' next"),
        ("PGPASSWORD=x psql -h h", "PGPASSWORD=*** psql -h h"),
        ('curl -H "Authorization: Bearer a b" https://h/', 'curl -H "Authorization: ***" https://h/'),
        ("curl -u a:b h | tee -a log", "curl -u *** h | tee -a log"),
        ("curl -s h && redis-cli -a x ping", "curl -s h && redis-cli -a *** ping"),
        ("ssh h 'mysql -px db' -v", "ssh h 'mysql -p*** db' -v"),
        ("sh -c \"ssh h 'mysql -px db'\"", "sh -c \"ssh h 'mysql -p*** db'\""),
        ("echo x | sshpass -p a ssh -p 22 h", "echo x | sshpass -p *** ssh -p 22 h"),
        ("x=$(mysql -pabc)", "x=$(mysql -p***)"),
        ("app --password", "app --password"),
        ("curl https://a:b@h/ --user c:d", "curl https://***@h/ --user ***"),
    ],
)
def test_secrets_in_command_lines(command: str, wanted: str) -> None:
    assert masked(command, probe.COMMAND) == wanted
    assert masked(command.encode(), probe.COMMAND) == wanted.encode()


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("USER joe\r\n", "USER joe\r\n"),
        ("RETR report.txt\r\n", "RETR report.txt\r\n"),
        ("mail FROM:<a@b> size=5\r\n", "mail FROM:<a@b> size=5\r\n"),
        ("ehlo [127.0.0.1]\r\n", "ehlo [127.0.0.1]\r\n"),
        ("ABCD1 SELECT INBOX\r\n", "ABCD1 SELECT INBOX\r\n"),
        ("QUIT", "QUIT"),
        ("AUTH", "AUTH"),
        ("PASS hunter2\r\n", "PASS ***\r\n"),
        ("pass two words", "pass ***"),
        ("ACCT x", "ACCT ***"),
        ("APOP joe digest", "APOP ***"),
        ("AUTH PLAIN AGpvZQ==\r\n", "AUTH ***\r\n"),
        ("AUTHINFO PASS x\r\n", "AUTHINFO ***\r\n"),
        ('ABCD2 LOGIN joe "pw"\r\n', "ABCD2 LOGIN ***\r\n"),
        ("KJGN14 AUTHENTICATE PLAIN x\r\n", "KJGN14 AUTHENTICATE ***\r\n"),
        ("AGpvZQBodW50ZXIy\r\n", None),
        ("Dear Sir\r\n", None),
        ("QUIT\r\nmore\r\n", None),
        ("hello list of things", None),
        ("zz1 LOGIN joe pw", None),
        ("\r\n", None),
        ("", None),
        ("LIST " + "x" * 5000, None),
    ],
)
def test_lines_of_protocols(line: str, wanted: str | None) -> None:
    if wanted is None:
        text, notes, _ = probe.encode((line,), bytes([probe.LINE]))
        assert text == b'[{"$length":%d}]' % len(line)
        assert notes == probe.SUMMARISED
    else:
        assert masked(line, probe.LINE) == wanted
        assert masked(line.encode(), probe.LINE) == wanted.encode()
