"""A C file as a loaded library: compiled at first use, for the processor at hand, and kept in the user's cache."""

import ctypes
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

# Nothing that changes a value, such as -ffast-math: operations round as written.
FLAGS = ("-O3", "-march=native", "-ffp-contract=off", "-fno-trapping-math", "-fPIC", "-shared")


class CompilerError(Exception):
    """There is no compiler, or it fails."""


def load(source: Path, *options: str) -> tuple[ctypes.CDLL, str]:
    """Compiles `source`, unless the cache has the result, and loads it.

    Args:
        source: a C file that needs no other.
        options: for the compiler, beside those that all files get.

    Returns:
        The library, and the compiler with its version, such as `gcc 12.2.0`.

    Raises:
        CompilerError: there is no compiler, or it fails.
        OSError: `source` cannot be read, or its library not be loaded.
    """
    compiler = _compiler()
    macros = _output([*compiler, "-march=native", "-dM", "-E", "-x", "c", os.devnull])
    version = re.search(r'__VERSION__ ".*?(\d+(\.\d+)+)', macros)
    name = "clang" if "__clang__" in macros else "gcc"
    return _load([*compiler, *FLAGS, *options], source, macros), f"{name} {version[1] if version else '?'}"


def _compiler() -> list[str]:
    for candidate in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        words = shlex.split(candidate)
        if words and shutil.which(words[0]):
            return words
    raise CompilerError("no C compiler found")


def _load(command: list[str], source: Path, macros: str) -> ctypes.CDLL:
    # The predefined macros tell the compiler's version and the processor's instructions.
    recipe = "\0".join([source.read_text(), *command, macros])
    name = f"{source.stem}-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}.so"
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "revbench"
        return ctypes.CDLL(str(_built(cache / name, command, source)))
    except (OSError, RuntimeError):  # no home, or none that can be written to and executed from
        with tempfile.TemporaryDirectory(prefix="revbench-") as folder:
            return ctypes.CDLL(str(_built(Path(folder) / name, command, source)))


def _built(file: Path, command: list[str], source: Path) -> Path:
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent) as scratch:  # a racing process sees a whole file or none
            made = Path(scratch) / file.name
            _output([*command, "-o", str(made), str(source)])
            made.replace(file)
    return file


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    except (OSError, subprocess.SubprocessError) as error:
        raise CompilerError(str(error)) from error
    if done.returncode:
        raise CompilerError(f"{command[0]} failed: {(done.stderr.strip() or 'no message').splitlines()[0]}")
    return done.stdout
