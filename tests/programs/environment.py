"""The environments that programs run in: one for each, kept in a cache, and the wheel of this tree in all of them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: What a wheel is made of.
SOURCES = ("litellm_accel", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")
#: LiteLLM reads such a file when it is imported, from its own folder or any above, unless the application forbids it.
DOTENV = "PROGRAMS_DOTENV=read\n"
GENERATED = {".c", ".so", ".pyd", ".pyc", ".html"}


def run(*command: str | Path, log: Path, cwd: Path | None = None, **environ: str) -> None:
    """Run a command, what it says to ``log``. Raises SystemExit with its last lines if it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        words = [str(word) for word in command]
        done = subprocess.run(words, stdout=output, stderr=output, cwd=cwd, env={**os.environ, **environ})
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}\n" + "\n".join(log.read_text().splitlines()[-15:]))


def python_of(version: str | None) -> str:
    """Return a Python of that version (``3.12``) from PATH or pyenv; this one for None. Raises SystemExit."""
    if version is None or version == "{}.{}".format(*sys.version_info):
        return os.path.realpath(sys.executable)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for candidate in (f"python{version}", *sorted(pyenv.glob(f"{version}.*/bin/python"))):
        if found := shutil.which(str(candidate)):
            check = [found, "-c", "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])"]
            if subprocess.run(check, capture_output=True, text=True).stdout.strip() == version:
                return found
    raise SystemExit(f"Python {version} is not on this machine")


def _sources() -> list[Path]:
    found = []
    for name in SOURCES:
        place = ROOT / name
        found += [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]
    return sorted(path for path in found if path.suffix not in GENERATED)


def digest_of_tree() -> str:
    """Return a digest of all that a wheel is made of."""
    digest = hashlib.sha256()
    for path in _sources():
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


@dataclass
class Wheels:
    """Wheels of this tree, one for each Python that a program runs on; made anew when the tree has changed."""

    cache: Path
    given: Path | None = None

    def wheel(self, python: str) -> tuple[Path, str]:
        """Return the wheel for that Python and a digest of what is in it."""
        if self.given is not None:
            return self.given, hashlib.sha256(self.given.read_bytes()).hexdigest()[:16]
        digest = digest_of_tree()
        tag = subprocess.run(
            [python, "-c", "import sys; print(sys.implementation.cache_tag)"], capture_output=True, text=True
        ).stdout.strip()
        folder = self.cache / "wheels" / tag / digest
        if not list(folder.glob("*.whl")):
            tree = self._copied(tag)
            pip = (python, "-m", "pip", "wheel", "--quiet", "--no-deps")
            run(*pip, "--wheel-dir", folder, tree, log=folder.parent / "build.log", LITELLM_ACCEL_PURE="0")
            for other in folder.parent.iterdir():
                if other.is_dir() and other != folder:
                    shutil.rmtree(other)
        return next(folder.glob("*.whl")), digest

    def _copied(self, tag: str) -> Path:
        """A copy of the tree to build in, where modules that have not changed stay compiled."""
        tree = self.cache / "source" / tag
        kept = {path.relative_to(ROOT) for path in _sources()}
        for path in list(tree.rglob("*")) if tree.exists() else []:
            within = path.relative_to(tree)
            is_old = path.suffix not in GENERATED and within not in kept
            if path.is_file() and (is_old or within.parts[0] == "build") and path.suffix not in {".c", ".o", ".so"}:
                path.unlink()
        for within in kept:
            copy, original = tree / within, ROOT / within
            if not copy.exists() or copy.read_bytes() != original.read_bytes():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(original, copy)
        for module in tree.glob("build/lib*/litellm_accel/_cy/*.so"):
            if not (tree / "litellm_accel" / "_cy" / f"{module.name.split('.')[0]}.pyx").exists():
                module.unlink()
        return tree


@dataclass
class Environment:
    """One program's environment."""

    name: str
    cache: Path
    requirements: list[str]
    litellm: str
    version: str | None

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self.cache / self.name

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / ("Scripts" if os.name == "nt" else "bin") / "python"

    def tree(self) -> str:
        """Return a digest of the tree, or of the wheel that was given, that is installed in it."""
        held = self.folder / "wheel.txt"
        return held.read_text() if held.exists() else ""

    def prepare(self, wheels: Wheels) -> Path:
        """Make it if it is not there or is another, and put the tree's wheel into it. Returns its interpreter."""
        python = python_of(self.version)
        wheel, digest = wheels.wheel(python)
        stamp, held = self.folder / "made.json", json.dumps([python, self.litellm, *self.requirements])
        install = (self.python, "-m", "pip", "install", "--quiet", "--no-compile")
        if not stamp.exists() or stamp.read_text() != held:
            shutil.rmtree(self.folder, ignore_errors=True)
            run(python, "-m", "venv", self.folder, log=self.cache / "logs" / f"{self.name}.log")
            log = self.folder / "install.log"
            try:
                run(*install, self.litellm, *self.requirements, log=log)
            except SystemExit:  # the program wants another LiteLLM
                run(*install, "litellm", *self.requirements, log=log)
            stamp.write_text(held)
        if not (ours := self.folder / "wheel.txt").exists() or ours.read_text() != digest:
            run(*install, "--force-reinstall", "--no-deps", wheel, log=self.folder / "wheel.log")
            run(*install, wheel, log=self.folder / "wheel.log")
            ours.write_text(digest)
        (self.folder / ".env").write_text(DOTENV)
        return self.python
