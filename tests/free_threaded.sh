#!/usr/bin/env bash
# Runs tests on a free-threaded CPython, which no package of Debian carries: built from Debian's source.
#
#   tests/free_threaded.sh          the tests named in TESTS below
#   tests/free_threaded.sh ARGS     pytest with these arguments instead
#
# apt fetches the source with a sources list and a state of its own; the build (three minutes on two cores)
# stays in the user's cache. Nothing is installed. The wheel is built by that interpreter: it holds the
# recorder of its ABI.
#
# Ends with 3 and one line where it cannot.
set -euo pipefail
cd "$(dirname "$0")/.."

SUITE=${SUITE:-trixie}
MIRROR=${MIRROR:-http://deb.debian.org/debian}
KEYS=/usr/share/keyrings/debian-archive-keyring.gpg
TESTS=( # those that have to do with threads; others pass, too: give them as ARGS
	tests/integration/test_context.py tests/integration/test_follow.py tests/integration/test_free_threaded.py
	tests/integration/test_lifecycle.py tests/integration/test_names.py tests/integration/test_processes.py
	tests/integration/test_recycling.py tests/integration/test_stacks.py tests/integration/test_thread_names.py
	tests/fault/test_descriptors.py tests/fault/test_earlier_hooks.py tests/fault/test_kill.py
	tests/fault/test_kill_recycling.py tests/fault/test_other_hooks.py tests/fault/test_small_stacks.py
	tests/native/test_pyabi.py
)

cache=${XDG_CACHE_HOME:-$HOME/.cache}/pythonaudit/free-threaded
python=$cache/$SUITE/bin/python3.13t

cannot() {
	echo "free-threaded builds not tested: $1" >&2
	exit 3
}

build() {
	local work=$cache/work
	echo "building a free-threaded CPython of Debian $SUITE (once, some minutes) ..." >&2
	rm -rf "$work" "${cache:?}/$SUITE"
	mkdir -p "$work/state/lists/partial" "$work/archives/partial" "$work/source" "$work/tree"
	echo "deb-src [signed-by=$KEYS] $MIRROR $SUITE main" >"$work/sources.list"
	: >"$work/status"
	local own=(
		-qq -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
		-o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null
		-o "Dir::State=$work/state" -o "Dir::State::Status=$work/status" -o "Dir::Cache=$work"
		-o APT::Sandbox::User=root -o Acquire::Retries=3
	)
	apt-get "${own[@]}" update &&
		(cd "$work/source" && apt-get "${own[@]}" source --download-only --only-source python3.13 >/dev/null) ||
		cannot "apt cannot fetch the source from $MIRROR $SUITE"
	tar -xJf "$work"/source/*.orig.tar.xz --strip-components=1 -C "$work/tree"
	(
		cd "$work/tree"
		./configure -q --prefix="$cache/$SUITE" --disable-gil --disable-test-modules --without-static-libpython \
			--with-ensurepip=no
		make -j"$(nproc)"
		make install
	) >"$work/log" 2>&1 || cannot "it does not build; see $work/log"
	rm -rf "$work"
}

for need in apt-get flock cc make xz; do
	command -v $need >/dev/null || cannot "no $need here"
done
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
[ -x "$python" ] || build
if [ ! -x "$cache/tools-$SUITE/done" ]; then
	"$python" -m venv --without-pip --clear "$cache/tools-$SUITE"
	PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/python -m pip --python "$cache/tools-$SUITE/bin/python" \
		install -qq 'setuptools>=77.0.3'
	ln -s /bin/true "$cache/tools-$SUITE/done"
fi
exec 9>&-

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/tree"
cp -r pyproject.toml setup.py pythonaudit.* README.md LICENSE src native "$work/tree"
find "$work/tree" -name '*.so' -delete
PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/python -m pip --python "$cache/tools-$SUITE/bin/python" wheel -qq \
	--no-deps --no-build-isolation --wheel-dir "$work" "$work/tree"

[ $# -gt 0 ] || set -- -q "${TESTS[@]}"
WHEEL=$(echo "$work"/*.whl) PATH="$cache/$SUITE/bin:$PATH" .venv/bin/python -m pytest -p no:cacheprovider "$@"
