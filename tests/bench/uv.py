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


def environment(home: Path, *install: str) -> Path:
    """A virtual environment at `home` with what `uv pip install` is told to install; made once. Its interpreter."""
    python = home / "bin" / "python"
    if not (home / "done").exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        uv("venv", "--quiet", "--clear", "--python", sys.executable, str(home))
        uv("pip", "install", "--quiet", "--compile-bytecode", "--python", str(python), *install)
        (home / "done").touch()
    return python
