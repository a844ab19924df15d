"""`pythonaudit env`: what turns recording on in a shell, systemd, Docker or Kubernetes.

Prints text to evaluate (`eval "$(pythonaudit env)"`), to save or to merge. The variables are
PYTHONAUDIT=1, the directory (`--dir`, `PYTHONAUDIT_DIR` or a place that fits the target) and
whatever other setting of the recorder is in force here. Each target quotes in its own way; a value
that it cannot carry is refused rather than bent.

Standard library only.
"""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

import pythonaudit
from pythonaudit.cli import default_directory
from pythonaudit.cli.ourselves import environment_in_force
from pythonaudit.errors import UsageError

#: Where services and containers keep journals unless something else was chosen.
SYSTEM_DIRECTORY = PurePosixPath("/var/log/pythonaudit")
#: Settings that are handed on. PYTHONAUDIT_RUN labels one run and is not.
SETTINGS = (
    "PYTHONAUDIT_EVENTS",
    "PYTHONAUDIT_STACK",
    "PYTHONAUDIT_MAX_BYTES",
    "PYTHONAUDIT_ON_FULL",
    "PYTHONAUDIT_ON_FAILURE",
    "PYTHONAUDIT_REVEAL",
)
SHIM = Path(pythonaudit.__file__).parent / "_preload.abi3.so"

Variables = Mapping[str, str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument(
        "--format",
        choices=sorted(BUILDERS),
        default="shell",
        help="what to write it for (default: shell)",
    )


def run(args: argparse.Namespace) -> int:
    """Prints the text; always 0."""
    environment = environment_in_force()
    unchosen = {k: v for k, v in environment.items() if k != "PYTHONAUDIT_DIR"}
    directory = PurePosixPath(args.dir)
    if args.format != "shell" and args.dir == default_directory(unchosen, os.geteuid()):
        directory = SYSTEM_DIRECTORY  # a service or container is not this user
    variables = {"PYTHONAUDIT": "1", "PYTHONAUDIT_DIR": str(directory)}
    variables |= {name: environment[name] for name in SETTINGS if environment.get(name)}
    if args.format != "shell":
        for name, value in variables.items():
            check_printable(name, value)
    print(BUILDERS[args.format](variables), end="")
    return 0


def check_printable(name: str, value: str) -> None:
    """Refuses what the files of systemd, Docker and Kubernetes cannot all carry.

    Raises:
        UsageError: the value holds line ends, control characters or bytes that are not UTF-8.
    """
    if not value.isprintable():
        raise UsageError(
            f"{name}={value!a} holds characters that do not print",
            hint="choose a value without them; only --format shell can carry it",
        )


def build_shell(variables: Variables) -> str:
    """Lines for any POSIX shell."""
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    text = (
        "# Every Python in whose environment pythonaudit is installed records itself from here on:\n"
        '#   eval "$(pythonaudit env)"\n'
        f"{exports}"
        "\n"
        "# Stronger: preload the recorder. It then begins before Python does, also with -S, also in\n"
        "# interpreters in which pythonaudit is not installed. `pythonaudit run -- COMMAND` does\n"
        "# this for one command; for everything that is started from this shell:\n"
    )
    if any(c.isspace() or c == ":" for c in str(SHIM)):
        # The dynamic linker separates the entries by these, and knows no quotes.
        return f"{text}# (not from {str(SHIM)!a}: LD_PRELOAD takes no path with blanks or colons)\n"
    return f'{text}# export LD_PRELOAD={shlex.quote(str(SHIM))}"${{LD_PRELOAD:+:$LD_PRELOAD}}"\n'


def build_systemd(variables: Variables) -> str:
    """A drop-in for one service."""
    directory = PurePosixPath(variables["PYTHONAUDIT_DIR"])
    lines = [
        "# Save as /etc/systemd/system/SERVICE.service.d/pythonaudit.conf, then",
        "#   systemctl daemon-reload && systemctl restart SERVICE",
        "# pythonaudit must be installed in the environment of the service.",
        "[Service]",
        *(f"Environment={_systemd(f'{name}={value}')}" for name, value in variables.items()),
    ]
    logs = PurePosixPath("/var/log")
    if directory.is_relative_to(logs) and directory not in (logs, SYSTEM_DIRECTORY) and ":" not in directory.name:
        lines += [
            "# The directory belongs to this service: systemd makes it and gives it to its user.",
            f"LogsDirectory={_systemd(str(directory.relative_to(logs)))}",
            "LogsDirectoryMode=0700",
        ]
    else:
        journal = _systemd_command(str(directory / "journal"))
        lines += [
            "# The directory is shared: every user may leave journals in it, and only root reads all.",
            f"ExecStartPre=+/usr/bin/install -d -m 0711 {_systemd_command(str(directory))}",
            f"ExecStartPre=+/usr/bin/install -d -m 1733 {journal}",
            "# It stays writable where ProtectSystem= or ProtectHome= closes the rest.",
            f"ReadWritePaths={_systemd('-' + str(directory))}",
        ]
    return "\n".join(lines) + "\n"


def build_systemd_agent(variables: Variables) -> str:
    """The unit of the agent."""
    directory = PurePosixPath(variables["PYTHONAUDIT_DIR"])
    journal = directory / "journal"
    command = [sys.executable, "-m", "pythonaudit", "--dir", str(directory), "agent"]
    lines = [
        "# Save as /etc/systemd/system/pythonaudit.service, then",
        "#   systemctl daemon-reload && systemctl enable --now pythonaudit",
        "[Unit]",
        "Description=pythonaudit: follows, seals and archives what Python processes record",
        "Documentation=man:systemd.exec(5)",
        "",
        "[Service]",
        "Type=notify",
        f"ExecStart={' '.join(map(_systemd_command, command))}",
        "Restart=on-failure",
        "RestartSec=5s",
        "WatchdogSec=2min",
        "TimeoutStopSec=2min",
        "# The directory is shared: every user may leave journals in it, and only root reads all.",
        f"ExecStartPre=+/usr/bin/install -d -m 0711 {_systemd_command(str(directory))}",
        f"ExecStartPre=+/usr/bin/install -d -m 1733 {_systemd_command(str(journal))}",
        "# A place in memory for the key that signs now, kept over restarts; config.toml says whether it is used:",
        '#   [keys] private = "/run/pythonaudit/keys"',
        "RuntimeDirectory=pythonaudit",
        "RuntimeDirectoryMode=0700",
        "RuntimeDirectoryPreserve=yes",
        "# It reads the boxes of all users and writes to none of them: of root's rights it has no other.",
        "CapabilityBoundingSet=CAP_DAC_READ_SEARCH",
        "NoNewPrivileges=yes",
        "UMask=0077",
        "# Where checkpoints are written to another place (checkpoints.file), its directory is one more.",
        f"ReadWritePaths={_systemd(str(directory))}",
        *(f"{name}={value}" for name, value in _HARDENING),
        "# Bounds for what no user should be able to make it take.",
        "LimitNOFILE=16384",
        "MemoryMax=1G",
        "OOMPolicy=continue",
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    ]
    return "\n".join(lines) + "\n"


# /proc stays as it is: whether a process lives is read there.
_HARDENING = (
    ("ProtectSystem", "strict"),
    ("ProtectHome", "read-only"),
    ("PrivateTmp", "yes"),
    ("PrivateDevices", "yes"),
    ("ProtectKernelTunables", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectKernelLogs", "yes"),
    ("ProtectControlGroups", "yes"),
    ("ProtectClock", "yes"),
    ("ProtectHostname", "yes"),
    ("RestrictNamespaces", "yes"),
    ("RestrictRealtime", "yes"),
    ("RestrictSUIDSGID", "yes"),
    ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6"),
    ("LockPersonality", "yes"),
    ("MemoryDenyWriteExecute", "yes"),
    ("SystemCallArchitectures", "native"),
    ("SystemCallFilter", "@system-service"),
    ("SystemCallErrorNumber", "EPERM"),
)


def _systemd(text: str) -> str:
    """One quoted word of a systemd setting; % would begin a specifier."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def _systemd_command(text: str) -> str:
    """One quoted word of a systemd command line, where $ is special too."""
    return _systemd(text).replace("$", "$$")


def build_docker(variables: Variables) -> str:
    """Flags of `docker run`, and lines of a Dockerfile."""
    directory = variables["PYTHONAUDIT_DIR"]
    continued = " \\\n"
    target = f"target={directory}"
    if any(c in directory for c in '",'):  # --mount is a line of CSV
        target = '"' + target.replace('"', '""') + '"'
    flags = [f"--env {shlex.quote(f'{name}={value}')}" for name, value in variables.items()]
    flags.append(f"--mount {shlex.quote('type=volume,source=pythonaudit,' + target)}")
    env = continued.join(f"    {name}={_dockerfile(value)}" for name, value in variables.items())
    make = f"install -d -m 0711 {shlex.quote(directory)}"
    boxes = f"install -d -m 1733 {shlex.quote(directory + '/journal')}"
    return (
        "# Flags for an image in which pythonaudit is installed. The volume keeps the journals\n"
        "# when the container is gone.\n"
        f"docker run {(continued + '  ').join(flags)}{continued}"
        "  IMAGE\n"
        "\n"
        "# Or, for every container of an image, in its Dockerfile:\n"
        "RUN pip install --no-cache-dir pythonaudit \\\n"
        f" && {make} \\\n"
        f" && {boxes}\n"
        f"ENV {env.lstrip()}\n"
        f"VOLUME {json.dumps([directory], ensure_ascii=False)}\n"
    )


def _dockerfile(text: str) -> str:
    """A quoted value of ENV; $ would begin a variable."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'


def build_kubernetes(variables: Variables) -> str:
    """A claim for a volume, and what a pod template gets, as YAML."""
    env = "".join(
        f"        - name: {name}\n          value: {_kubernetes(value)}\n" for name, value in variables.items()
    )
    return (
        "# The volume that keeps the journals when the pod is gone.\n"
        "apiVersion: v1\n"
        "kind: PersistentVolumeClaim\n"
        "metadata:\n"
        "  name: pythonaudit\n"
        "spec:\n"
        "  accessModes: [ReadWriteOnce]\n"
        "  resources:\n"
        "    requests:\n"
        "      storage: 4Gi\n"
        "---\n"
        "# Merge into the pod, or into spec.template of a Deployment. pythonaudit must be installed in\n"
        "# the image. Where the container does not run as root, fsGroup is one of its groups.\n"
        "spec:\n"
        "  securityContext:\n"
        "    fsGroup: 1000\n"
        "  containers:\n"
        "    - name: app\n"
        "      env:\n"
        f"{env}"
        "      volumeMounts:\n"
        "        - name: pythonaudit\n"
        f"          mountPath: {_yaml(variables['PYTHONAUDIT_DIR'])}\n"
        "  volumes:\n"
        "    - name: pythonaudit\n"
        "      persistentVolumeClaim:\n"
        "        claimName: pythonaudit\n"
    )


def _yaml(text: str) -> str:
    """A double-quoted scalar: of printable text, JSON's form is YAML's too."""
    return json.dumps(text, ensure_ascii=False)


def _kubernetes(text: str) -> str:
    """The value of an environment variable; $(NAME) would be replaced."""
    return _yaml(text.replace("$", "$$"))


BUILDERS: Mapping[str, Callable[[Variables], str]] = {
    "docker": build_docker,
    "kubernetes": build_kubernetes,
    "shell": build_shell,
    "systemd": build_systemd,
    "systemd-agent": build_systemd_agent,
}
