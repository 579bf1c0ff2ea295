"""The lab kernel: built once, known by what went into it, never half there."""

import os
import subprocess
import tarfile
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import pytest

from vm import kernel, places
from vm.errors import LabError

# A kernel source as far as the recipe can tell: it "compiles" two files into a script.
MAKEFILE = """
allnoconfig:
\tgrep '^CONFIG_.*=y' $(KCONFIG_ALLCONFIG) | grep -v UNKNOWN > .config
kernel/utsname.o:
linux:
\t@echo '  CC      a.o'; echo '  CC      b.o'; {step}
\t@printf '#!/bin/sh\\necho 6.12.99\\n' > linux; chmod +x linux
"""


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    archive = tmp_path / "linux-6.12.tar"
    monkeypatch.setenv("MOBIVPN_KERNEL_SOURCE", str(archive))
    write_source(archive)
    return archive


def write_source(archive: Path, step: str = "true") -> None:
    data = MAKEFILE.replace("{step}", step).encode()
    with tarfile.open(archive, "w") as file:
        entry = tarfile.TarInfo("linux-6.12/Makefile")
        entry.size = len(data)
        file.addfile(entry, BytesIO(data))


def leftovers() -> list[Path]:
    return [*places.runs().glob("[!.]*"), *places.cache().glob("kernels/*/*.partial")]


def test_a_kernel_is_built_once(cache: Path, source: Path) -> None:
    steps: list[tuple[str, int]] = []
    built = kernel.ensure(lambda step, done, total: steps.append((step, done)))
    assert kernel.release(built) == "6.12.99"
    assert ("compile the lab kernel", 2) in steps
    steps.clear()
    assert kernel.ensure(lambda step, done, total: steps.append((step, done))) == built
    assert steps == []
    assert leftovers() == []


def test_another_source_is_another_kernel(cache: Path, source: Path) -> None:
    first = kernel.ensure(quiet)
    os.utime(source, (1, 1))
    assert kernel.find() is None
    assert kernel.ensure(quiet) != first


def test_without_the_source_a_built_kernel_still_does(cache: Path, source: Path) -> None:
    built = kernel.ensure(quiet)
    source.unlink()
    assert kernel.find() == built


def test_other_options_are_another_kernel(
    cache: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.ensure(quiet)
    other = tmp_path / "kernel.config"
    other.write_text("CONFIG_A=y\n")
    monkeypatch.setattr(kernel, "OPTIONS", other)
    assert kernel.find() is None


def test_an_option_that_does_not_stand_stops_the_build(
    cache: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = tmp_path / "kernel.config"
    options.write_text("CONFIG_GOOD=y\nCONFIG_UNKNOWN=y\n")
    monkeypatch.setattr(kernel, "OPTIONS", options)
    with pytest.raises(LabError, match=r"cannot have CONFIG_UNKNOWN=y"):
        kernel.ensure(quiet)
    assert leftovers() == []


def test_a_failed_build_says_what_failed_and_leaves_nothing(cache: Path, source: Path) -> None:
    write_source(source, step="echo x.c:1: error: no such thing; false")
    with pytest.raises(LabError, match=r"to compile, status 2\): x.c:1: error: no such thing"):
        kernel.ensure(quiet)
    assert kernel.find() is None
    assert leftovers() == []


def test_an_interrupted_build_leaves_nothing(cache: Path, source: Path) -> None:
    write_source(source, step="sleep 60")

    def interrupt(step: str, done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kernel.ensure(interrupt)
    assert kernel.find() is None
    assert leftovers() == []


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source tree of two headers, in which the lab kernel's compiler is tried."""
    include = tmp_path / "include" / "linux"
    include.mkdir(parents=True)
    once = "#ifdef TWICE\n#error twice\n#endif\n#define TWICE\n"
    (include / "compiler-version.h").write_text(once)
    (include / "big.h").write_text("#ifndef BIG\n#define BIG\n#define swap(a, b) (b)\n#endif\n")
    lines = "#include <linux/compiler-version.h>\n#include <linux/big.h>\n"
    (tmp_path / "lab-headers.h").write_text(lines)
    return tmp_path


def compile_in(tree: Path, source: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Compile a.c in the tree as the kernel's Makefile would."""
    (tree / "a.c").write_text(source)
    flags = ["-nostdinc", "-I./include", "-include", "./include/linux/compiler-version.h", *options]
    command = [kernel.OPTIONS.with_name("kernel-cc.sh"), *flags, "-c", "-o", "a.o", "a.c"]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)


NAME = '-DKBUILD_MODNAME="a module"'


def test_headers_are_parsed_once_and_the_files_name_is_known(tree: Path) -> None:
    for _ in range(2):
        done = compile_in(tree, "const char *name = KBUILD_MODNAME;\n", NAME)
        assert done.returncode == 0, done.stderr
        assert b"a module" in (tree / "a.o").read_bytes()
        assert (tree / "lab-headers.h.gch").is_file()
        # A header that is precompiled is not read again.
        (tree / "include" / "linux" / "big.h").write_text("#error read again\n")


@pytest.mark.parametrize(
    ("source", "options"),
    [("int swap(int a, int b, int c) { return a + b + c; }\n", ()), ("int a;\n", ("-O2", "-fpic"))],
    ids=["clashes", "other options"],
)
def test_a_file_that_cannot_do_with_the_headers_is_compiled_without(
    tree: Path, source: str, options: tuple[str, ...]
) -> None:
    assert compile_in(tree, "int first;\n", NAME).returncode == 0
    (tree / "lab-headers.h").write_text("#error read again\n")
    done = compile_in(tree, source, NAME, *options)
    assert done.returncode == 0, done.stderr


def test_an_error_in_a_file_is_said(tree: Path) -> None:
    done = compile_in(tree, "int a = nothing;\n", NAME)
    assert done.returncode == 1
    assert "a.c:1" in done.stderr


def test_two_builds_at_once_build_one_kernel(cache: Path, source: Path, tmp_path: Path) -> None:
    write_source(source, step=f"echo built >> {tmp_path}/log; sleep 0.3")
    with ThreadPoolExecutor() as pool:
        built = [pool.submit(kernel.ensure, quiet) for _ in range(3)]
    assert {each.result() for each in built} == {kernel.find()}
    assert (tmp_path / "log").read_text() == "built\n"


def test_a_source_that_is_not_there_is_told(cache: Path, source: Path) -> None:
    source.unlink()
    with pytest.raises(LabError, match=r"linux-6\.12\.tar: the kernel's source is not there"):
        kernel.ensure(quiet)


def test_no_space_is_told_before_anything_is_unpacked(
    cache: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "_SPACE_MIB", 1 << 40)
    with pytest.raises(LabError, match="no space"):
        kernel.ensure(quiet)


def test_a_damaged_source_is_told(cache: Path, source: Path) -> None:
    source.write_bytes(b"not an archive")
    with pytest.raises(LabError, match="to unpack"):
        kernel.ensure(quiet)
    assert leftovers() == []


def test_options_that_must_not_stand_are_checked_too() -> None:
    assert kernel.missing("# x\nCONFIG_A=n\nCONFIG_B=y\n", "CONFIG_A=y\nCONFIG_B=y\n") == [
        "CONFIG_A=n"
    ]
    assert kernel.missing("CONFIG_A=n\n", "# CONFIG_A is not set\nCONFIG_AB=y\n") == []


def test_every_option_of_the_lab_is_named_once() -> None:
    lines = kernel.OPTIONS.read_text(encoding="utf-8").splitlines()
    names = [line.partition("=")[0] for line in lines if line.startswith("CONFIG_")]
    assert len(names) == len(set(names))


def test_a_kernel_that_does_not_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="cannot run the lab kernel"):
        kernel.release(tmp_path / "linux")


def test_the_real_lab_kernel_is_a_6_12(lab_kernel: Path) -> None:
    assert kernel.release(lab_kernel).startswith("6.12.")
    assert not subprocess.run([lab_kernel, "--help"], capture_output=True, check=False).stderr


def quiet(step: str, done: int, total: int) -> None:
    """Show no progress."""
