"""What is put into a module when LiteLLM imports that, where to import it any sooner would cost or change something."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod

from litellm_accel import import_watch, patching

_logger = logging.getLogger("litellm_accel")


class Late(ABC):
    """Patches of a ``module``, from when that is imported until ``leave()``; ``what`` stays LiteLLM's if they fail."""

    def __init__(self, module: str, what: str) -> None:
        self._what = what
        self._module = module
        self._patches: list[patching.Patch] = []
        self._import = import_watch.ImportWatch(module, self._imported)

    def join(self) -> None:
        """Patch the module, now or when it has been imported."""
        if import_watch.is_imported(self._module):
            self._imported()
        else:
            self._import.start()

    def leave(self) -> None:
        """Give the functions back."""
        self._import.stop()
        patching.uninstall(self._patches)
        self._patches = []

    def _imported(self) -> None:
        self._import.stop()
        try:
            patches = self._made()
            patching.install(patches)
            self._patches = patches
        except Exception as error:
            _logger.warning("litellm-accel: %s stays LiteLLM's: %s", self._what, error)
            _logger.debug("", exc_info=True)

    @abstractmethod
    def _made(self) -> list[patching.Patch]:
        """Return the patches, to be called when the module is there. What this raises is logged."""
