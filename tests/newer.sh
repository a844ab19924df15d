#!/usr/bin/env bash
# Runs tests on CPython 3.14 and 3.15, which a stable machine lacks: in a chroot of Debian's newer suite.
#
#   tests/newer.sh                  the tests named in TESTS below, on both versions
#   tests/newer.sh pytest ARGS      these instead
#   tests/newer.sh COMMAND ARGS     a command in there, at the root of this checkout
#
# apt fetches the packages with a sources list and a state of its own, dpkg unpacks them into a folder of the
# user's cache; nothing is installed, and the machine's own packages, lists and settings are neither read nor
# changed. What is mounted there (/proc, /dev, this checkout) is mounted in a mount namespace of its own, and
# gone with it. The recorder is the one built outside: one binary for all versions, and the older libc's
# runs on the newer. The tests run in 3.14; what they record runs in each version.
#
# Needs root (chroot, mounts) and apt; ends with 3 and one line where it cannot. SUITE and MIRROR say which
# Debian; what has been fetched stays until the list of packages changes (or the folder is removed).
set -euo pipefail
cd "$(dirname "$0")/.."

SUITE=${SUITE:-sid}
MIRROR=${MIRROR:-http://deb.debian.org/debian}
KEYS=/usr/share/keyrings/debian-archive-keyring.gpg
PACKAGES=(
	base-files bash binutils ca-certificates coreutils dash diffutils e2fsprogs findutils grep gzip libc-bin mount procps sed tar util-linux
	gcc libc6-dev make
	python3.14 python3.14-dev python3.14-venv python3.15 python3.15-dev python3.15-venv
)
TOOLS=(
	cryptography duckdb hypothesis loguru numpy orjson prometheus-client pyarrow pysigma pytest pip pyyaml rich
	'setuptools>=77.0.3' structlog
)
TESTS=( # all of tests/fault passes, too, and takes as long again: give it as ARGS
	tests/integration tests/conformance tests/fault/test_earlier_hooks.py tests/fault/test_kill.py
	tests/fault/test_other_hooks.py tests/fault/test_rlimits.py tests/fault/test_small_stacks.py
	tests/native/test_encode.py tests/native/test_preload.py tests/native/test_pyabi.py
	# What reads has little to do with the version that was recorded.
	--ignore=tests/integration/test_diff.py --ignore=tests/integration/test_diff_output.py
	--ignore=tests/integration/test_access.py --ignore=tests/integration/test_ends_of_commands.py
	--ignore=tests/integration/test_formats.py --ignore=tests/integration/test_stacks_command.py
	--ignore=tests/integration/test_wrong_values.py
	# Nor has what ships, detects, or evaluates.
	--ignore-glob='tests/integration/test_bucket_*.py' --ignore-glob='tests/integration/test_otlp_*.py'
	--ignore-glob='tests/integration/test_syslog_*.py' --ignore=tests/integration/test_shipping.py
	--ignore=tests/integration/test_alerts.py --ignore=tests/integration/test_detect.py
	--ignore=tests/integration/test_deployments.py --ignore=tests/integration/test_evals.py
)

checkout=$PWD
cache=${XDG_CACHE_HOME:-$HOME/.cache}/pythonaudit/newer
root=$cache/$SUITE-$(dpkg --print-architecture 2>/dev/null || true)

cannot() {
	echo "3.14 and 3.15 not tested: $1" >&2
	exit 3
}

for need in apt-get dpkg flock unshare chroot; do
	command -v $need >/dev/null || cannot "no $need here"
done
[ "$(id -u)" -eq 0 ] || cannot "that needs root, for chroot"
unshare --mount true 2>/dev/null || cannot "no mounts allowed here"

# What maintainer scripts would have made.
finish() {
	ln -sf gcc "$1/usr/bin/cc"
	echo 'root:x:0:0:root:/root:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin' >"$1/etc/passwd"
	echo 'root:x:0:
nogroup:x:65534:' >"$1/etc/group"
	echo '127.0.0.1 localhost' >"$1/etc/hosts"
	cat "$1"/usr/share/ca-certificates/mozilla/*.crt >"$1/etc/ssl/certs/ca-certificates.crt" # pip reads them at start
	mkdir -p "$1/proc" "$1/dev" "$1/sys" "$1/tmp" "$1/root"
	for version in 3.14 3.15; do
		chroot "$1" "/usr/bin/python$version" -m compileall -qq -x 'test/|lib2to3' "/usr/lib/python$version" || true
	done
}

unpack() {
	local apt=$cache/apt part=$root.part packages
	echo "fetching CPython 3.14 and 3.15 of Debian $SUITE (once) ..." >&2
	rm -rf "$part"
	mkdir -p "$apt/state/lists/partial" "$apt/archives/partial" "$part"
	echo "deb [signed-by=$KEYS] $MIRROR $SUITE main" >"$apt/sources.list"
	: >"$apt/status"
	local own=(
		-qq -o "Dir::Etc::SourceList=$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
		-o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null
		-o "Dir::State=$apt/state" -o "Dir::State::Status=$apt/status" -o "Dir::Cache=$apt"
		-o APT::Sandbox::User=root -o APT::Install-Recommends=false -o Acquire::Retries=3
	)
	# What they need, they say: apt plans as if nothing were installed.
	apt-get "${own[@]}" update &&
		packages=$(apt-get "${own[@]}" --simulate install "${PACKAGES[@]}" | awk '/^Inst / {print $2}' | sort -u) &&
		(cd "$apt/archives" && xargs apt-get "${own[@]}" download <<<"$packages") ||
		cannot "apt cannot fetch them from $MIRROR $SUITE"
	# First what makes /bin, /lib and so on links into /usr.
	dpkg -x "$apt"/archives/base-files_*.deb "$part"
	for package in "$apt"/archives/*.deb; do
		dpkg -x "$package" "$part"
	done
	finish "$part"
	echo "${PACKAGES[*]}" >"$part/wanted"
	rm -rf "$apt" "$root"
	mv -T "$part" "$root"
}

# An environment of 3.14 with the test tools; pip chooses the wheels here, where there is a network.
tools() {
	local wanted=${TOOLS[*]} there=$root/opt/tools machine
	[ "$(cat "$there/wanted" 2>/dev/null)" = "$wanted" ] && return
	rm -rf "$there"
	chroot "$root" /usr/bin/python3.14 -m venv --without-pip /opt/tools
	machine=$(uname -m)
	PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/python -m pip install -qq \
		--target "$there/lib/python3.14/site-packages" --python-version 3.14 --only-binary=:all: \
		--platform "manylinux_2_28_$machine" --platform "manylinux_2_17_$machine" --platform "manylinux2014_$machine" \
		"${TOOLS[@]}"
	echo "$wanted" >"$there/wanted"
}

mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
[ "$(cat "$root/wanted" 2>/dev/null)" = "${PACKAGES[*]}" ] || unpack
tools
exec 9>&-

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/tmp" "$work/tree"
chmod 1777 "$work/tmp"
cp -r pyproject.toml setup.py pythonaudit.* README.md LICENSE src native "$work/tree"
find "$work/tree" -name '*.so' -delete
PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/python -m pip wheel -qq --no-deps --no-build-isolation \
	--wheel-dir "$work/tmp" "$work/tree"
# What the package is called and offers: the tests' own interpreter has no other installation of it.
.venv/bin/python -m zipfile -e "$work"/tmp/*.whl "$work/wheel"

if [ $# -eq 0 ]; then
	set -- pytest -q "${TESTS[@]}"
fi
if [ "$1" = pytest ]; then
	shift
	set -- /opt/tools/bin/python -m pytest -p no:cacheprovider "$@"
fi

export root checkout work
# shellcheck disable=SC2016
unshare --mount --propagation private bash -euc '
	mount --bind "$root" "$root" # tests unshare: their root has to be a mount
	mount --rbind /dev "$root/dev"
	mount --rbind /proc "$root/proc"
	mount --bind "$work/tmp" "$root/tmp"
	mkdir -p "$root$checkout" # may be below /tmp
	mount --bind "$checkout" "$root$checkout"
	mount -t tmpfs tmpfs "$root/var/log"
	info=$root/opt/tools/lib/python3.14/site-packages/pythonaudit.dist-info
	mkdir -p "$info" # stays, empty, and must not be taken for another version
	mount --bind "$work"/wheel/*.dist-info "$info"
	wheel=$(cd "$work" && echo tmp/*.whl)
	exec chroot "$root" /usr/bin/env -i \
		HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin PYTHONDONTWRITEBYTECODE=1 \
		WHEEL="/$wheel" ${SOAK:+SOAK="$SOAK"} ${SEED:+SEED="$SEED"} \
		sh -c "cd \"\$0\" && exec \"\$@\"" "$checkout" "$@"
' newer "$@"
