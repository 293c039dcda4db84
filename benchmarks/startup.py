"""What it costs to have litellm-accel: its import, `accelerate()`, and what both add to `import litellm`."""

from __future__ import annotations

from benchmarks import BACKENDS, STOCK, prefer

_ACCELERATE = "import litellm_accel; report = litellm_accel.accelerate(strict=True)"


class Startup:
    """New interpreters, as an application starts; stock is `import litellm` alone."""

    params = (list(BACKENDS),)
    param_names = ("backend",)
    number = 1
    repeat = 5
    timeout = 120

    def setup(self, backend: str) -> None:
        prefer(backend)

    def timeraw_ready(self, backend: str) -> str:
        return "import litellm" if backend == STOCK else f"import litellm; {_ACCELERATE}; {_check(backend)}"


class Install:
    """`import litellm_accel`, and `accelerate()` beside a LiteLLM that is imported already."""

    params = (list(BACKENDS[1:]),)
    param_names = ("backend",)
    number = 1
    repeat = 5
    timeout = 120

    def setup(self, backend: str) -> None:
        prefer(backend)

    def timeraw_import(self, backend: str) -> str:
        return "import litellm_accel"

    def timeraw_accelerate(self, backend: str) -> tuple[str, str]:
        return f"{_ACCELERATE}; {_check(backend)}", "import litellm"


class Switching:
    """`restore()` followed by `accelerate()` in a process where everything is loaded."""

    params = (list(BACKENDS[1:]),)
    param_names = ("backend",)

    def setup(self, backend: str) -> None:
        prefer(backend)
        import litellm_accel

        self.package = litellm_accel
        report = litellm_accel.accelerate(strict=True)
        assert {part.backend for part in report.components if part.state == "active"} == {backend}, str(report)

    def time_restore_accelerate(self, backend: str) -> None:
        self.package.restore()
        self.package.accelerate()

    def teardown(self, backend: str) -> None:
        self.package.restore()


def _check(backend: str) -> str:
    active = "component.backend for component in report.components if component.state == 'active'"
    return f"assert {{{active}}} == {{{backend!r}}}, str(report)"
