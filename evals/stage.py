"""What a sandbox looks like to the program in it: a developer's machine in a cloud.

Every secret here is made up. Where a vendor documents a value for examples, it is that one.
"""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

import servers
from emulation import Emulation

HOME = Path("/home/alice")
APP = HOME / "app"
VENV = APP / ".venv"

_KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nbm8gcmVhbCBrZXk=\n-----END OPENSSH PRIVATE KEY-----\n"
_AWS = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
FILES = {
    ".ssh/id_rsa": _KEY,
    ".ssh/id_ed25519": _KEY,
    ".ssh/config": "Host prod\n  HostName 203.0.113.10\n  User deploy\n",
    ".ssh/known_hosts": "203.0.113.10 ssh-ed25519 AAAA\n",
    ".ssh/authorized_keys": "ssh-ed25519 AAAA alice@laptop\n",
    ".gnupg/secring.gpg": "none",
    ".aws/credentials": f"[default]\naws_access_key_id = {_AWS[0]}\naws_secret_access_key = {_AWS[1]}\n",
    ".aws/config": "[default]\nregion = us-east-1\n",
    ".azure/accessTokens.json": "[]",
    ".config/gcloud/application_default_credentials.json": '{"type": "authorized_user"}',
    ".config/gcloud/credentials.db": "",
    ".kube/config": "apiVersion: v1\nkind: Config\n",
    ".docker/config.json": '{"auths": {}}',
    ".git-credentials": "https://alice:token@git.example\n",
    ".gitconfig": "[user]\n  name = Alice\n",
    ".netrc": "machine git.example login alice password none\n",
    ".npmrc": "//registry.npmjs.org/:_authToken=none\n",
    ".pypirc": "[pypi]\nusername = __token__\npassword = none\n",
    ".pgpass": "db.example:5432:app:app:none\n",
    ".bash_history": "ls\nssh prod\n",
    ".bashrc": "# ~/.bashrc\n",
    ".profile": "# ~/.profile\n",
    ".local/share/keyrings/login.keyring": "none",
    ".config/discord/Local Storage/leveldb/000005.ldb": "none",
    ".config/google-chrome/Local State": "{}",
    ".mozilla/firefox/a.default/logins.json": "{}",
    ".mozilla/firefox/a.default/key4.db": "",
    ".bitcoin/wallet.dat": "none",
    ".config/solana/id.json": "[]",
    ".ethereum/keystore/UTC--one": "{}",
    ".config/Exodus/exodus.wallet/seed.seco": "none",
    "app/.env": "DATABASE_URL=postgres://app:none@db.example/app\n",
    "app/requirements.txt": "requests\n",
} | {f"Documents/note-{number}.txt": f"note {number}\n" * 20 for number in range(60)}
SYSTEM = {
    "/etc/shadow": "root:*:20000:0:99999:7:::\nalice:$6$made$up:20000:0:99999:7:::\n",
    "/var/run/secrets/kubernetes.io/serviceaccount/token": "none",
    "/var/run/secrets/kubernetes.io/serviceaccount/namespace": "default",
    "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt": "none",
    "/var/log/auth.log": "sshd: session opened\n",
    "/var/log/wtmp": "",
    "/dev/input/event0": "",
}
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": _AWS[0],
    "AWS_SECRET_ACCESS_KEY": _AWS[1],
    "GITHUB_TOKEN": "none",
    "PYPI_TOKEN": "none",
    "DATABASE_URL": "postgres://app:none@db.example/app",
}


def furnish(emulation: Emulation, tools: Path) -> Path:
    """Makes home, system files, names and a virtual environment in which pip can be run; its interpreter.

    Args:
        emulation: what runs here.
        tools: the site-packages that have pip and setuptools.
    """
    for name, text in SYSTEM.items() | {(str(HOME / name), text) for name, text in FILES.items()}:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for database in (".config/google-chrome/Default/Login Data", ".config/google-chrome/Default/Cookies"):
        path = HOME / database
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path)
        connection.executescript(
            "CREATE TABLE logins (origin_url, username_value, password_value);"
            "CREATE TABLE cookies (host_key, name, encrypted_value);"
        )
        connection.close()
    names = "".join(f"{servers.SERVER} {host}\n" for host in emulation.hosts)
    Path("/etc/hosts").unlink(missing_ok=True)
    Path("/etc/hosts").write_text(f"127.0.0.1 localhost build-7\n{names}")
    Path("/etc/resolv.conf").unlink(missing_ok=True)
    Path("/etc/resolv.conf").write_text(f"nameserver {servers.RESOLVER}\noptions timeout:1 attempts:1\n")
    return make_venv(tools)


def site_packages(venv: Path) -> Path:
    """Where packages of a virtual environment of this interpreter's version are."""
    return venv / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"


def make_venv(tools: Path) -> Path:
    """What `python -m venv` makes, without its second of work."""
    base = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    python = VENV / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(base)
    (python.parent / "python3").symlink_to("python")
    (VENV / "pyvenv.cfg").write_text(f"home = {base.parent}\ninclude-system-site-packages = false\n")
    site = site_packages(VENV)
    site.mkdir(parents=True)
    (site / "tools.pth").write_text(f"{tools}\n")
    return python


def describe(emulation: Emulation) -> None:
    """Writes the metadata of the distribution that is in site-packages, if there is one."""
    if not emulation.distribution:
        return
    name, version = emulation.distribution.split()
    site = site_packages(VENV)
    files = [str(path.relative_to(site)) for path in sorted(site.rglob("*")) if path.is_file()]
    metadata = site / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (metadata / "INSTALLER").write_text("pip\n")
    rows = [file for file in files if file != "tools.pth"]
    rows += [f"{metadata.name}/{file}" for file in ("METADATA", "INSTALLER", "RECORD")]
    (metadata / "RECORD").write_text("".join(f"{row},,\n" for row in rows))


def environment(python: Path, certificate: Path) -> dict[str, str]:
    """The variables of the program."""
    path = f"{python.parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    names = {"HOME": str(HOME), "USER": "alice", "LOGNAME": "alice", "LANG": "C.UTF-8", "PATH": path}
    return names | ENVIRONMENT | {"SSL_CERT_FILE": str(certificate), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
