"""uv, wherever it is, and the interpreters that are measured."""

import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parents[2]
SYSTEM = "/usr/bin/python3"


def uv(*arguments: str) -> None:
    """Run it in the project's folder. Raises CalledProcessError or FileNotFoundError."""
    found = os.environ.get("UV") or shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")
    subprocess.run([found, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def interpreter() -> str:
    """What Python is measured on: `BENCH_PYTHON`, else the system's, else the one that runs this.

    Distributions build theirs with profile-guided optimisation; one that pyenv built as it does by itself is slower.
    """
    chosen = os.environ.get("BENCH_PYTHON")
    return chosen or (SYSTEM if _is_new_enough(SYSTEM) else sys.executable)


def version(python: str) -> str:
    """Its version, in three numbers."""
    code = "import platform; print(platform.python_version())"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def named(python: str | Path) -> str:
    """Its version and where it is; of a virtual environment, the interpreter that it was made with."""
    path = str(Path(python).resolve()).replace(str(Path.home()), "~")
    return f"Python {version(str(python))} (`{path}`)"


def environment(folder: Path, name: str, *install: str, python: str) -> Path:
    """A virtual environment of `python` with what `uv pip install` is given; made once. Its interpreter."""
    build = subprocess.run([python, "-VV"], capture_output=True, check=True).stdout
    home = folder / f"{name}-{sha256(python.encode() + build + repr(install).encode()).hexdigest()[:12]}"
    made = home / "bin" / "python"
    if not (home / "done").exists():
        folder.mkdir(parents=True, exist_ok=True)
        uv("venv", "--quiet", "--clear", "--python", python, str(home))
        uv("pip", "install", "--quiet", "--compile-bytecode", "--python", str(made), *install)
        (home / "done").touch()
    return made


def worker_python(python: str) -> Path:
    """An interpreter that has what the artifact and Lambda's runtime have, and nothing else, with byte code.

    The developers' environment would not do: what other tools bring (awscrt) is imported by boto3 where it is found.
    """
    home = ROOT / ".sandbox" / "bench"
    wanted = home / f"worker-{sha256((ROOT / 'uv.lock').read_bytes()).hexdigest()[:12]}.txt"
    if not wanted.exists():
        home.mkdir(parents=True, exist_ok=True)
        export = ("export", "--quiet", "--frozen", "--no-dev", "--no-emit-project", "--extra", "worker")
        uv(*export, "--output-file", str(wanted))
    return environment(home, "worker", "--no-deps", "-r", str(wanted), python=python)


def _is_new_enough(python: str) -> bool:
    if not Path(python).exists():
        return False
    code = "import sys; sys.exit(sys.version_info < (3, 11))"
    return subprocess.run([python, "-c", code], check=False).returncode == 0
