"""The preload shim: what programs see of it, and what their children are given.

`starts.c` starts programs in every way that the C library has. What a child is given is read from
its /proc/self/environ; what it sees is what `env` prints. Each test that goes through our C code
runs with the shim as it is, and built with each sanitizer.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SOURCES = sorted((HERE.parents[1] / "native").glob("preload*.c"))
GCC = ["gcc", "-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-Werror"]
SANITIZERS = {
    "plain": [],
    "undefined": ["-fsanitize=undefined", "-fno-sanitize-recover=all"],
    # The stack is not watched: a child of vfork that execs never cleans its part of it up.
    "address": ["-fsanitize=address", "--param=asan-stack=0"],
}
#: The sanitizer's options are part of the shim, since children are given no environment.
ASAN_OPTIONS = (
    '__attribute__((visibility("default"))) const char *__asan_default_options(void)'
    '{ return "verify_asan_link_order=0:detect_leaks=0"; }'
)
OURS = ["PYTHONAUDIT=1", "PYTHONAUDIT_RUN=a run", "PYTHONAUDIT_DIR=/nowhere"]
FUNCTIONS = ["execve", "execv", "execvp", "execvpe", "execl", "execlp", "execle", "fexecve", "execveat"]
FUNCTIONS += ["posix_spawn", "posix_spawnp", "system", "popen"]
SHELLS = ("system", "popen")
OWN = [f"PATH={os.defpath}", "KEPT=a b"]
TIMEOUT_SECONDS = 120

Run = Callable[..., subprocess.CompletedProcess[str]]


def compile_c(output: Path, *arguments: str | Path) -> Path:
    subprocess.run([*GCC, "-o", output, *arguments], check=True, timeout=TIMEOUT_SECONDS)
    return output


def compile_meddler(directory: Path) -> Path:
    return compile_c(directory / "meddler.so", "-fPIC", "-shared", HERE / "meddler.c", "-ldl", "-lpthread")


@pytest.fixture(scope="module", params=SANITIZERS)
def shim(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shim, with no recorder beside it."""
    directory = tmp_path_factory.mktemp(request.param) / "pythonaudit"
    directory.mkdir()
    flags = ["-fPIC", "-shared", "-fvisibility=hidden", *SANITIZERS[request.param]]
    sources = list(SOURCES)
    if request.param == "address":
        sources.append(directory / "options.c")
        sources[-1].write_text(ASAN_OPTIONS)
    return compile_c(directory / "_preload.abi3.so", *flags, *sources, "-ldl", "-lpthread")


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_c(tmp_path_factory.mktemp("starts") / "starts", HERE / "starts.c", "-lpthread")


@pytest.fixture(scope="module")
def run(shim: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs a program in the given environment, with the shim in it unless ours=()."""
    place = tmp_path_factory.mktemp("place")
    (place / "empty").touch(mode=0o755)
    (place / "unreadable").touch(mode=0o644)

    def run(
        *command: str | Path,
        env: Mapping[str, str] | None = None,
        ours: Sequence[str] = OURS,
        status: int = 0,
    ) -> subprocess.CompletedProcess[str]:
        environment = dict(entry.split("=", 1) for entry in OWN) if env is None else dict(env)
        if ours:
            environment |= dict(entry.split("=", 1) for entry in ours)
            before = environment.get("LD_PRELOAD")
            environment["LD_PRELOAD"] = str(shim) if before is None else f"{before}:{shim}"
        if "address" in str(shim) and len(environment.get("LD_PRELOAD", "").replace(":", " ").split()) > 1:
            pytest.skip("the sanitizer's runtime suffers no other preloaded file")
        done = subprocess.run(
            command, env=environment, cwd=place, capture_output=True, text=True, timeout=TIMEOUT_SECONDS
        )
        assert done.returncode == status, f"{done.returncode}\n{done.stdout}{done.stderr}"
        return done

    return run


def given(output: str) -> list[str]:
    """The variables in the output of `cat /proc/self/environ`, without what a shell adds."""
    return [entry for entry in output.split("\0") if entry and not entry.startswith("PWD=")]


def carried(shim: Path) -> list[str]:
    return [*OURS, f"LD_PRELOAD={shim}"]


class TestWhatTheProgramSees:
    @pytest.mark.parametrize(
        "env",
        [
            {},
            {"A": "1", "B": "2"},
            {"LD_PRELOAD": "libm.so.6"},
            {"LD_PRELOAD": "libm.so.6 libdl.so.2"},
            {"LD_PRELOAD": ""},
            {"PYTHONAUDITOR": "not ours", "XPYTHONAUDIT": "1"},
            {f"V{i}": str(i) for i in range(10_000)},
        ],
        ids=["none", "some", "preload", "preloads", "empty preload", "names like ours", "ten thousand"],
    )
    def test_is_the_environment_without_us(self, run: Run, env: dict[str, str]) -> None:
        command = ["/usr/bin/env", "-0"]
        assert run(*command, env=env).stdout == run(*command, env=env, ours=()).stdout

    @pytest.mark.parametrize("separator", [":", " "])
    @pytest.mark.parametrize("at", [0, 1, 2])
    def test_our_entry_goes_wherever_it_stands(self, run: Run, shim: Path, separator: str, at: int) -> None:
        entries = ["libm.so.6", "libdl.so.2"]
        user = separator.join(entries)
        entries.insert(at, str(shim))
        env = {"PYTHONAUDIT": "1", "LD_PRELOAD": separator.join(entries)}
        assert run("/usr/bin/env", env=env, ours=()).stdout == f"LD_PRELOAD={user}\n"

    def test_is_the_same_in_python(self, run: Run) -> None:
        command = [sys.executable, "-I", "-S", "-c", "import os; print(os.environ)"]
        assert run(*command).stdout == run(*command, ours=()).stdout

    @pytest.mark.parametrize("count", [1, 2, 3])
    def test_the_auxiliary_vector_still_follows(self, run: Run, starts: Path, count: int) -> None:
        done = run(starts, "auxv", ours=OURS[:count])
        assert done.stdout == run(starts, "auxv", ours=()).stdout
        assert done.stdout.endswith("right\n")

    @pytest.mark.parametrize("value", ["", "0"])
    def test_is_everything_when_off(self, run: Run, shim: Path, value: str) -> None:
        off = [f"PYTHONAUDIT={value}", "PYTHONAUDIT_RUN=a run"]
        seen = run("/usr/bin/env", ours=off).stdout.splitlines()
        assert seen == [*OWN, *off, f"LD_PRELOAD={shim}"]


class TestWhatAChildIsGiven:
    @pytest.mark.parametrize("environment", ["inherit", "empty", "3", "3000"])
    @pytest.mark.parametrize(
        ("how", "where"),
        [
            (how, where)
            for how in FUNCTIONS
            for where in ("here", "fork", "vfork", "thread")
            if where != "vfork" or how not in SHELLS  # a child of vfork may only exec
        ],
    )
    def test_by_every_function(
        self, run: Run, starts: Path, shim: Path, how: str, where: str, environment: str
    ) -> None:
        own = OWN if environment == "inherit" else []
        if environment.isdigit():
            own = [f"TAG_{i}={i}" for i in range(int(environment))]
        command = [starts, "run", how, where, environment]
        got = given(run(*command, "/bin/cat", "/proc/self/environ").stdout)
        seen = run(*command, "/usr/bin/env").stdout.splitlines()
        if how in SHELLS:  # which keep their variables in an order of their own
            assert sorted(got) == sorted(own + carried(shim))
            assert sorted(e for e in seen if not e.startswith("PWD=")) == sorted(own)
        else:
            assert got == own + carried(shim)
            assert seen == own

    def test_the_callers_preload_comes_first(self, run: Run, starts: Path, shim: Path) -> None:
        command = [starts, "run", "execve", "here", "inherit", "/bin/cat", "/proc/self/environ"]
        got = given(run(*command, env={"LD_PRELOAD": "libm.so.6", "A": "1"}).stdout)
        assert got == [f"LD_PRELOAD=libm.so.6:{shim}", "A=1", *OURS]

    def test_a_long_preload_is_kept(self, run: Run, starts: Path, shim: Path) -> None:
        long = ":".join(["libm.so.6"] * 500)
        command = [starts, "run", "execve", "vfork", "inherit", "/bin/cat", "/proc/self/environ"]
        assert given(run(*command, env={"LD_PRELOAD": long}).stdout) == [f"LD_PRELOAD={long}:{shim}", *OURS]

    def test_a_nested_run_is_left_as_it_is(self, run: Run, shim: Path) -> None:
        inner = [f"LD_PRELOAD=/elsewhere/pythonaudit/{shim.name}", "PYTHONAUDIT=1", "PYTHONAUDIT_RUN=inner"]
        command = ["/usr/bin/env", "-i", *inner, "/bin/cat", "/proc/self/environ"]
        assert given(run(*command).stdout) == inner

    def test_what_the_program_sets_gives_way(self, run: Run, shim: Path) -> None:
        variables = ["PYTHONAUDIT=0", "PYTHONAUDIT_EVENTS=-*", "A=1"]
        command = ["/usr/bin/env", "-i", *variables, "/bin/cat", "/proc/self/environ"]
        assert given(run(*command).stdout) == ["A=1", *carried(shim)]

    def test_the_shim_is_not_named_twice(self, run: Run, shim: Path) -> None:
        command = ["/usr/bin/env", "-i", f"LD_PRELOAD={shim}", "/bin/cat", "/proc/self/environ"]
        assert given(run(*command).stdout) == [f"LD_PRELOAD={shim}", *OURS]

    def test_a_program_out_of_reach_is_spared_the_complaint(self, run: Run, shim: Path, tmp_path: Path) -> None:
        # Statically linked: it shows what a dynamic one would be given, and needs no library here.
        compile_c(tmp_path / "starts", "-static", HERE / "starts.c", "-lpthread")
        chroot = shutil.which("chroot", path=f"{os.defpath}:/sbin:/usr/sbin") or "chroot"
        enter = [chroot] if os.geteuid() == 0 else ["/usr/bin/unshare", "-r", chroot]
        if subprocess.run([*enter, tmp_path, "/starts", "show"], capture_output=True).returncode != 0:
            pytest.skip("a chroot is not allowed here")
        assert sorted(run(*enter, tmp_path, "/starts", "show").stdout.splitlines()) == sorted([*OWN, *OURS])

    def test_a_static_program_passes_everything_on(self, run: Run, shim: Path, tmp_path: Path) -> None:
        static = compile_c(tmp_path / "starts", "-static", HERE / "starts.c", "-lpthread")
        command = [static, "run", "execve", "here", "inherit", "/usr/bin/env"]
        assert run(*command).stdout.splitlines() == OWN
        command[-1:] = ["/bin/cat", "/proc/self/environ"]
        assert given(run(*command).stdout) == [*OWN, *carried(shim)]

    def test_so_does_a_program_that_go_built(self, run: Run, shim: Path, tmp_path: Path) -> None:
        go = compile_c(tmp_path / "starts", "-DGO_NOTE", HERE / "starts.c", "-lpthread")
        assert run(go, "show").stdout.splitlines() == [*OWN, *carried(shim)]
        assert run(go, "run", "syscall", "fork", "inherit", "/usr/bin/env").stdout.splitlines() == OWN


class TestBehaviourIsTheLibrarys:
    """The same program says the same with the shim and without."""

    @pytest.mark.parametrize("what", ["errors", "bad", "shell", "cancel"])
    def test_errors_status_and_signals(self, run: Run, starts: Path, what: str) -> None:
        with_us, without = run(starts, what), run(starts, what, ours=())
        assert with_us.stdout == without.stdout
        assert with_us.stderr == without.stderr

    def test_an_environment_that_just_fits_goes_without_us(self, run: Run, starts: Path) -> None:
        assert run(starts, "limit").stdout == run(starts, "limit", ours=()).stdout

    def test_unless_the_child_must_be_recorded(self, run: Run, starts: Path) -> None:
        stop = [*OURS, "PYTHONAUDIT_ON_FAILURE=stop"]
        assert int(run(starts, "limit", ours=stop).stdout) < int(run(starts, "limit", ours=()).stdout)

    @pytest.mark.parametrize("what", ["leak", "leak-old"])
    def test_vfork_leaves_no_mapping_behind(self, run: Run, starts: Path, what: str) -> None:
        assert run(starts, what, "3000").stdout == "0\n"

    def test_threads_do_not_mix_their_environments(self, run: Run, starts: Path) -> None:
        run(starts, "threads", "100")
        run(starts, "threads", "1500")

    @pytest.mark.parametrize(
        ("how", "left"),
        [("add", ["VICTIM=1", "ADDED=by the meddler"]), ("replace", ["VICTIM=replaced"]), ("remove", [])],
    )
    @pytest.mark.parametrize("preload", ["", "libm.so.6"], ids=["alone", "with another"])
    def test_popen_keeps_a_change_made_meanwhile(
        self, run: Run, starts: Path, shim: Path, tmp_path: Path, how: str, left: list[str], preload: str
    ) -> None:
        meddler = compile_meddler(tmp_path)
        preloads = f"{shim}:{meddler}" + (f":{preload}" if preload else "")
        env = {"VICTIM": "1", "MEDDLE": how, "LD_PRELOAD": preloads, "PYTHONAUDIT": "1"}
        seen = run(starts, "after-popen", env=env, ours=()).stdout.splitlines()
        user = f"LD_PRELOAD={meddler}" + (f":{preload}" if preload else "")
        assert sorted(seen) == sorted([f"MEDDLE={how}", user, *left])

    @pytest.mark.parametrize("how", ["keep", "fork"])
    @pytest.mark.parametrize("variables", [0, 3000])
    def test_popen_lets_other_threads_read_and_fork(
        self, run: Run, starts: Path, shim: Path, tmp_path: Path, how: str, variables: int
    ) -> None:
        meddler = compile_meddler(tmp_path)
        own = {f"V{i}": str(i) for i in range(variables)} | {"MEDDLE": how}
        env = own | {"LD_PRELOAD": f"{shim}:{meddler}", "PYTHONAUDIT": "1"}
        seen = run(starts, "after-popen", env=env, ours=()).stdout
        assert seen == run(starts, "after-popen", env=own | {"LD_PRELOAD": str(meddler)}, ours=()).stdout

    def test_popen_may_fork(self, run: Run, starts: Path, shim: Path, tmp_path: Path) -> None:
        meddler = compile_meddler(tmp_path)
        env = {"MEDDLE": "fork-here", "LD_PRELOAD": f"{shim}:{meddler}", "PYTHONAUDIT": "1"}
        command = [starts, "run", "popen", "here", "inherit", "/bin/cat", "/proc/self/environ"]
        got = given(run(*command, env=env, ours=()).stdout)
        wanted = ["MEDDLE=fork-here", f"LD_PRELOAD={meddler}:{shim}", "PYTHONAUDIT=1"]
        assert sorted(got) == sorted(2 * wanted)  # from the meddler's child, and the library's

    def test_an_environment_that_has_moved_can_grow(
        self, run: Run, starts: Path, shim: Path, tmp_path: Path
    ) -> None:
        meddler = compile_meddler(tmp_path)
        own = {"MEDDLE": "early"}
        env = {"PYTHONAUDIT": "1"} | own | {"LD_PRELOAD": f"{shim}:{meddler}"}
        seen = run(starts, "grow", env=env, ours=()).stdout
        assert seen == run(starts, "grow", env=own | {"LD_PRELOAD": str(meddler)}, ours=()).stdout


class TestTools:
    """Programs between the run and the child, each with what it does to the environment."""

    LOOK = "/bin/cat /proc/self/environ"

    @pytest.mark.parametrize(
        "command",
        [
            ["sh", "-c", LOOK],
            ["sh", "-c", f"exec env -i {LOOK}"],
            ["sh", "-c", f"unset PATH KEPT; {LOOK}; :"],
            ["bash", "-c", f"exec -c {LOOK}"],
            ["bash", "-c", f"echo | {LOOK} | cat"],
            ["env", "-i", "/bin/cat", "/proc/self/environ"],
            ["env", "-u", "LD_PRELOAD", "-u", "PYTHONAUDIT", "/bin/cat", "/proc/self/environ"],
            ["nohup", "/bin/cat", "/proc/self/environ"],
            ["setsid", "-w", "/bin/cat", "/proc/self/environ"],
            ["timeout", "60", "/bin/cat", "/proc/self/environ"],
            ["xargs", "-a", "/dev/null", "/bin/cat", "/proc/self/environ"],
            ["find", "/proc/self/environ", "-exec", "/bin/cat", "/proc/self/environ", ";"],
            ["make", "-s", "-f", "-", "--eval", f"all: ; @{LOOK}"],
            ["make", "-s", "-f", "-", "--eval", f"all: ; @env -i {LOOK}"],
            ["make", "-s", "-f", "-", "--eval", f"$(shell {LOOK} >&2)\nall: ;"],
            ["git", "-c", f"alias.look=!{LOOK}", "look"],
            ["perl", "-e", f"%ENV = (); exec '{LOOK}'"],
            ["perl", "-e", f"%ENV = (); system split / /, '{LOOK}'"],
            ["perl", "-e", f"print `{LOOK}`"],
            ["perl", "-e", f"open F, '-|', '{LOOK}'; print <F>"],
            ["awk", f'BEGIN {{ system("{LOOK}") }}'],
            ["awk", f'BEGIN {{ while (("{LOOK}" | getline line) > 0) print line }}'],
        ],
        ids=lambda command: " ".join(command).replace("\n", "; "),
    )
    def test_pass_it_on(self, run: Run, shim: Path, command: list[str]) -> None:
        if not shutil.which(command[0]):
            pytest.skip(f"no {command[0]} here")
        done = run(*command)
        assert set(carried(shim)) <= set(given(done.stdout.replace("\n", "\0") + done.stderr))

    def test_so_does_a_script(self, run: Run, shim: Path, tmp_path: Path) -> None:
        script = tmp_path / "script"
        script.write_text(f"#!/usr/bin/env -S -i sh\n{self.LOOK}\n")
        script.chmod(0o755)
        assert set(carried(shim)) <= set(given(run(script).stdout))


class TestPythonWithoutARecorder:
    """The directory of this shim holds no recorder: the program runs on as it would without."""

    COMMAND = (sys.executable, "-I", "-S", "-c", "print('ran')")

    @pytest.mark.parametrize("recorder", [None, b"not a shared object"], ids=["absent", "broken"])
    def test_runs_on_in_silence(
        self, run: Run, shim: Path, recorder: bytes | None, request: pytest.FixtureRequest
    ) -> None:
        self.put(shim, recorder, request)
        done = run(*self.COMMAND)
        assert (done.stdout, done.stderr) == ("ran\n", "")

    @pytest.mark.parametrize("recorder", [None, b"not a shared object"], ids=["absent", "broken"])
    def test_is_ended_where_it_must_be_recorded(
        self, run: Run, shim: Path, recorder: bytes | None, request: pytest.FixtureRequest
    ) -> None:
        self.put(shim, recorder, request)
        done = run(*self.COMMAND, ours=[*OURS, "PYTHONAUDIT_ON_FAILURE=stop"], status=78)
        assert done.stdout == ""
        line = f"pythonaudit: cannot record this process: {shim.parent}/_recorder.abi3.so: "
        assert done.stderr.startswith(line)
        assert done.stderr.endswith("; ended because PYTHONAUDIT_ON_FAILURE=stop\n")
        assert done.stderr.count("\n") == 1

    def test_other_programs_run_all_the_same(self, run: Run) -> None:
        assert run("/bin/echo", "ran", ours=[*OURS, "PYTHONAUDIT_ON_FAILURE=stop"]).stdout == "ran\n"

    @staticmethod
    def put(shim: Path, recorder: bytes | None, request: pytest.FixtureRequest) -> None:
        if recorder is not None:
            path = shim.with_name("_recorder.abi3.so")
            path.write_bytes(recorder)
            request.addfinalizer(path.unlink)
