"""uv, wherever it is."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def uv(*arguments: str) -> None:
    """Run it in the project's folder. Raises CalledProcessError or FileNotFoundError."""
    found = os.environ.get("UV") or shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")
    subprocess.run([found, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def environment(home: Path, *install: str, of: str = sys.executable) -> Path:
    """A virtual environment at `home` with what `uv pip install` is told to install; made once. Its interpreter.

    `of` is the interpreter it is made of.
    """
    python = home / "bin" / "python"
    if not (home / "done").exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        uv("venv", "--quiet", "--clear", "--python", of, str(home))
        uv("pip", "install", "--quiet", "--compile-bytecode", "--python", str(python), *install)
        (home / "done").touch()
    return python
