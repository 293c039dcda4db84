"""Builds the compiled half: every `litellm_accel/_cy/*.pyx` becomes an optional extension module.

A module that does not build is left out, and its pure-Python twin serves. `LITELLM_ACCEL_PURE=1` builds the twins
alone, as does a machine without a working C compiler; that wheel is `py3-none-any`. `LITELLM_ACCEL_PURE=0` demands the
compiled half: whatever does not build fails the build (CI, wheels).
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CCompilerError, CompileError, ExecError, PlatformError

from distutils.ccompiler import new_compiler  # isort: skip  # setuptools' own copy since Python 3.12
from distutils.sysconfig import customize_compiler, get_python_inc  # isort: skip

_WISH = os.environ.get("LITELLM_ACCEL_PURE", "").lower()
PURE = _WISH in {"1", "true", "yes", "on"}
REQUIRED = _WISH in {"0", "false", "no", "off"}

# Pythons that build in one tree must not see each other's newer C files and compile again.
C_FILES = f"build/{sys.implementation.cache_tag}"

# Measured: the byte-pair encoder is up to 7 % faster at -O2 than at -O3, and smaller. Debug information would be five
# times the size of the code, and hidden symbols keep the modules' names out of each other's way.
UNIX_FLAGS = ["-O2", "-g0", "-fvisibility=hidden"]


def say(message: str) -> None:
    print(f"litellm-accel: {message}", file=sys.stderr)


def extensions() -> list[Extension]:
    """One extension for each `.pyx`; none where only the twins are to be installed."""
    if PURE:
        say("LITELLM_ACCEL_PURE is set: installing the pure-Python twins alone")
        return []
    if (problem := compiler_problem()) is not None:
        if REQUIRED:
            raise CompileError(f"LITELLM_ACCEL_PURE=0 demands the compiled modules; no working C compiler: {problem}")
        say(f"no working C compiler ({problem}): installing the pure-Python twins alone")
        return []
    return [
        Extension(f"litellm_accel._cy.{path.stem}", [path.as_posix()], optional=not REQUIRED)
        for path in sorted(Path("litellm_accel/_cy").glob("*.pyx"))
    ]


def compiler_problem() -> str | None:
    """Why C extensions cannot be built here, or None. Asked before the wheel gets its tag, so by a real compilation."""
    with tempfile.TemporaryDirectory() as scratch:
        probe = Path(scratch, "probe.c")
        probe.write_text("#include <Python.h>\n")
        try:
            compiler = new_compiler()
            customize_compiler(compiler)
            includes = [get_python_inc(), get_python_inc(plat_specific=True)]
            compiler.compile([str(probe)], output_dir=scratch, include_dirs=includes)
        except (CCompilerError, CompileError, ExecError, PlatformError) as error:
            return str(error)
    return None


class BuildModules(build_ext):
    """Translates the modules to C in parallel processes and compiles them in parallel threads."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def build_extensions(self) -> None:
        wanted, sources = self.extensions, self.translate(self.extensions)
        self.extensions = [extension for extension in wanted if extension.name in sources]
        for extension in self.extensions:
            extension.sources = sources[extension.name]
            extension.depends = ["setup.py"]  # the flags
            if self.compiler.compiler_type != "msvc":  # whose default is /O2
                extension.extra_compile_args += UNIX_FLAGS
        super().build_extensions()
        for extension in wanted:
            if not Path(self.get_ext_fullpath(extension.name)).exists():
                say(f"{extension.name} was not built: its pure-Python twin serves")

    def translate(self, wanted: list[Extension]) -> dict[str, list[str]]:
        """Return the C sources of each extension that Cython can translate."""
        from Cython.Build import cythonize
        from Cython.Compiler.Errors import CompileError as CythonError

        # Worker processes import this script where they are spawned rather than forked.
        jobs = self.parallel if sys.platform == "linux" else 0
        try:
            translated = cythonize(wanted, build_dir=C_FILES, force=self.force, nthreads=jobs)
        except CythonError:
            if REQUIRED:
                raise
            if len(wanted) == 1:
                return {}
            return {name: files for one in wanted for name, files in self.translate([one]).items()}
        return {extension.name: extension.sources for extension in translated}


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildModules})
