#!/usr/bin/env bash
# Runs examples/login.py with recording on, and shows the trail. `make demo` calls it.
# Argument: the directory with the python and the pythonaudit of an environment that has pythonaudit[tools].
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$1
export PYTHONAUDIT_DIR=$PWD/.demo
rm -rf "$PYTHONAUDIT_DIR"

show() {
	printf '\n$ pythonaudit'
	printf ' %q' "$@"
	printf '\n'
	"$bin/pythonaudit" "$@"
}

printf '$ export PYTHONAUDIT=1\n$ python examples/login.py\n'
PYTHONAUDIT=1 "$bin/python" examples/login.py
show log --source application
show log --category network --category process
show log --path '/etc/*' -n 1
show stats -n 6
