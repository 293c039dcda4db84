"""Switches components on and off: resolve, build, prove, replace; each component wholly or not at all."""

from __future__ import annotations

import gc
import importlib
import importlib.metadata
import importlib.util
import logging
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

from litellm_accel import _backend, components, exit_cleanup, hot, import_watch, patching, settings
from litellm_accel.components.base import Component, Native, ProbeMismatch, Replaced, Unavailable, Unproven
from litellm_accel.quiet import quiet
from litellm_accel.report import AccelerationError, ComponentStatus, Report, State

_logger = logging.getLogger("litellm_accel")
_HOST = "litellm"
_WANTED = ("active", "waiting")
_OF_RECORDS = ("chat", "streaming")  # what ``verify`` makes records of


class _Activation:
    """One component's state in this process: its gate, its patches, and why it is as it is."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state: State = "off"
        self.reason = "not switched on"
        self.patches: list[patching.Patch] = []
        self.gate = hot.gate.Gate(name, settings.max_faults())

    def start(self) -> bool:
        """Activate the component, or record why that is impossible. Leaves nothing half done. Returns whether it is."""
        try:
            with quiet(), exit_cleanup.left_to_the_application():
                component = components.get(self.name)
                self.patches = self._prepare(component)
            patching.install(self.patches)
            component.started()
        except Native as error:
            self._settle("native", str(error))
        except Unproven as error:
            self._settle("unproven", str(error))
        except (Unavailable, patching.PatchError) as error:
            self._settle("off", str(error))
        except ProbeMismatch as error:
            self._settle("failed", f"differs from stock: {error}")
        except Exception as error:  # a component that cannot start must never stop the application
            _logger.debug("litellm-accel: %s cannot start", self.name, exc_info=True)
            self._settle("failed", f"{type(error).__name__}: {error}")
        else:
            self.state, self.reason = "active", component.summary
        return self.state == "active"

    def wait(self) -> None:
        """Note that the component is to be activated when LiteLLM is there."""
        self.state, self.reason = "waiting", "waits for LiteLLM to be imported"

    def _prepare(self, component: Component) -> list[patching.Patch]:
        replaced: dict[str, Replaced] = {}
        patches = []
        for replacement in component.replacements(self.gate):
            function = patching.resolve(replacement.target)
            stock = patching.stock_copy(function)
            accelerated = replacement.build(stock)
            replaced[replacement.target] = Replaced(accelerated, stock)
            patches.append(patching.Patch(function, accelerated))
        self.gate.switch(True)
        component.prove(replaced)
        return patches

    def _settle(self, state: State, reason: str) -> None:
        self.gate.switch(False)
        self.gate.clear()
        self.patches = []
        self.state, self.reason = state, reason
        level = logging.INFO if state == "native" else logging.WARNING
        _logger.log(level, "litellm-accel: %s stays off (%s): %s", self.name, state, reason)

    def stop(self) -> None:
        """Give back every function; what somebody else has changed meanwhile runs stock through our closed gate."""
        if self.state == "waiting":
            self.state, self.reason = "off", "restored"
            return
        self.gate.switch(False)
        for kept in patching.uninstall(self.patches):
            _logger.warning("litellm-accel: %s was changed by somebody else and keeps that change", kept)
        self.patches = []
        self.state, self.reason = "off", "restored"
        components.get(self.name).stopped()

    def status(self) -> ComponentStatus:
        """Return the component's state and counters now."""
        if self.state == "waiting":  # to say more, the component would have to be imported
            return ComponentStatus(self.name, self.state, self.reason, backend="")
        gate = self.gate
        state, reason, level = self.state, self.reason, ""
        if state == "active":
            proof = components.get(self.name).proof
            level = "at start" if proof is None else proof.level
            if proof is not None and proof.refusal is not None:
                state, reason = "off", proof.refusal
            elif not gate.on:
                state, reason = "failed", f"breaker open after {gate.faults} faults; last: {gate.last_fault}"
        return ComponentStatus(
            self.name, state, reason, _backend_of(self.name), gate.served, gate.declined, gate.faults, level
        )


def _backend_of(name: str) -> str:
    try:
        modules = ("gate", *components.get(name).hot_modules)
    except Exception:  # the reason column tells that the component cannot be imported
        return "none"
    kinds = {_backend.chosen(module).kind for module in modules}
    return kinds.pop() if len(kinds) == 1 else "mixed"


_lock = threading.RLock()
_verifies = False  # the application has asked for it
_activations: dict[str, _Activation] = {}


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)  # another thread may have held it when the process forked


def accelerate(
    components: str | Iterable[str] | None = None, *, strict: bool = False, verify: Literal["background"] | None = None
) -> Report:
    """Install accelerated components into LiteLLM: now, or as soon as the application has imported it.

    ``components`` is a name, several names, or None for all. A component that cannot be activated stays
    off, and the report says why; active ones stay as they are. LiteLLM is not imported for this: where it is not there
    yet, the components are ``waiting``, and are activated when its import is complete.

    With ``strict`` the call activates all it was asked for or changes nothing and raises ``AccelerationError``; what
    LiteLLM does natively is not missing. Only an imported LiteLLM can tell, so that it is imported then.

    ``verify="background"``, or ``LITELLM_ACCEL_VERIFY=background`` in the environment, has what no record proves
    verified beside the application: by one process of low priority, once per environment. Its record counts as soon as
    it is there.

    Returns the ``Report`` of all components. Raises ``ValueError`` for an unknown name, ``TypeError`` for something
    else than names, ``ImportError`` if LiteLLM is not installed.
    """
    global _verifies
    if verify not in (None, settings.BACKGROUND):
        raise ValueError(f"verify: {verify!r} is not {settings.BACKGROUND!r}")
    names = _names(components)
    _verifies = _verifies or verify is not None
    is_there = _meet_litellm(strict)
    with _lock:
        _want(names, is_there, strict)
    _catch_up()
    return status()


def restore() -> None:
    """Give LiteLLM back exactly as it was, and wait for it no longer. Does nothing where nothing is accelerated."""
    global _verifies
    with _lock:
        _verifies = False
        _stop([name for name, activation in _activations.items() if activation.state in _WANTED])


@contextmanager
def accelerated(components: str | Iterable[str] | None = None, *, strict: bool = False) -> Iterator[Report]:
    """Accelerate LiteLLM inside a ``with`` block; afterwards what the block switched on is off again.

    Arguments, result and errors are those of ``accelerate()``. LiteLLM may be imported inside the block.
    """
    names = _names(components)
    is_there = _meet_litellm(strict)
    with _lock:
        before = {name for name in names if _is_wanted(name)}
        _want(names, is_there, strict)
        started = [name for name in names if name not in before and _is_wanted(name)]
    _catch_up()
    try:
        yield status()
    finally:
        with _lock:
            _stop([name for name in started if _activations[name].state in _WANTED])


def status() -> Report:
    """Return the state and counters of every component.

    Nothing is changed, unless LiteLLM was imported in a way that could not be seen: what waits for it is activated now.
    """
    with _lock:
        if _waiting() and import_watch.is_imported(_HOST):
            _start(_waiting())
        rows = [
            _activations[name].status() if name in _activations else _never_started(name) for name in components.NAMES
        ]
    return Report(_litellm_version(), tuple(rows))


def reset_errors(components: str | Iterable[str] | None = None) -> None:
    """Forget the internal faults of ``components`` (None: all) and close their breakers.

    Raises ``ValueError`` for an unknown name.
    """
    with _lock:
        for name in list(_activations) if components is None else _names(components):
            if name in _activations:
                _activations[name].gate.reset_errors()


def _names(wanted: str | Iterable[str] | None) -> list[str]:
    if wanted is None:
        return list(components.NAMES)
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"components: names are strings, got {name!r}; known: {', '.join(components.NAMES)}")
        if name not in components.NAMES:
            raise ValueError(f"components: unknown component {name!r}; known: {', '.join(components.NAMES)}")
    return list(dict.fromkeys(names))


def _meet_litellm(strict: bool) -> bool:
    """Return whether LiteLLM is there and whole; with ``strict`` it is imported. Raises ``ImportError``.

    Not to be called with the lock held: whoever imports LiteLLM meanwhile takes that at the end.
    """
    if _HOST not in sys.modules and importlib.util.find_spec(_HOST) is None:
        raise ImportError("litellm-accel accelerates LiteLLM, which is not installed: pip install litellm")
    if strict:
        _ = importlib.import_module(_HOST).__spec__  # a module that is loaded lazily is loaded by that
    elif import_watch.is_being_imported(_HOST):
        importlib.import_module(_HOST)  # another thread's import is waited for
    return import_watch.is_imported(_HOST)


def _catch_up() -> None:
    """Activate what waits if another thread began to import LiteLLM before anybody watched."""
    if import_watch.is_being_imported(_HOST):
        importlib.import_module(_HOST)
    with _lock:
        if _waiting() and import_watch.is_imported(_HOST):
            _start(_waiting())


def _litellm_imported() -> None:
    """Activate what waits for LiteLLM. The import that has just ended must not fail of it."""
    try:
        with _lock:
            _start(_waiting())
    except Exception:
        _logger.debug("litellm-accel: nothing can be activated", exc_info=True)


_watch = import_watch.ImportWatch(_HOST, _litellm_imported)


def _want(names: list[str], is_there: bool, strict: bool) -> None:
    """Activate components, or have them wait for LiteLLM. Raises ``AccelerationError``."""
    if not is_there and strict:
        raise AccelerationError(dict.fromkeys(names, "LiteLLM is being imported by the caller"))
    if not is_there:
        for name in names:
            if (activation := _activation(name)).state != "active":
                activation.wait()
        _watch.start()
        return
    waiting = _waiting()
    started = _start(dict.fromkeys([*names, *waiting]))
    failures = {name: _activations[name].status().reason for name in names if _is_missing(name)}
    if strict and failures:
        _stop([name for name in started if name not in waiting])
        raise AccelerationError(failures)


def _is_missing(name: str) -> bool:
    return _activations[name].status().state not in ("active", "native")


def _waiting() -> list[str]:
    return [name for name in components.NAMES if name in _activations and _activations[name].state == "waiting"]


def _start(names: Iterable[str]) -> list[str]:
    """Activate components that are not active; return which of them are now. Nothing is waited for any longer."""
    _watch.stop()
    started: list[str] = []
    with _without_collection():
        for name in names:
            activation = _activation(name)
            if activation.state != "active" and activation.start():
                started.append(name)
    for name in started:
        _activations[name].gate.clear()  # of the calls by which other components proved themselves
    if _verifies or settings.verifies():
        _verify_beside()
    return started


@contextmanager
def _without_collection() -> Iterator[None]:
    """Keep Python's garbage collector from running: one look at all that LiteLLM holds takes longer than the block."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _verify_beside() -> None:
    """Have what is active without a record verified by another process."""
    proofs = {name: components.get(name).proof for name in _OF_RECORDS if _is_active(name)}
    wanted = {name: proof for name, proof in proofs.items() if proof is not None and not proof.is_recorded}
    if not wanted:
        return
    from litellm_accel.verify import background

    for name, proof in wanted.items():
        proof.found = background.Watch(name)
    background.begin(list(wanted))


def _stop(names: Iterable[str]) -> None:
    for name in reversed(list(names)):
        _activations[name].stop()
    if not _waiting():
        _watch.stop()


def _activation(name: str) -> _Activation:
    if name not in _activations:
        _activations[name] = _Activation(name)
    return _activations[name]


def _is_active(name: str) -> bool:
    return name in _activations and _activations[name].status().state == "active"


def _is_wanted(name: str) -> bool:
    return name in _activations and _activations[name].status().state in _WANTED


def _never_started(name: str) -> ComponentStatus:
    return ComponentStatus(name, "off", "not switched on", backend="")  # which is not worth importing it for


def _litellm_version() -> str:
    try:
        return importlib.metadata.version("litellm")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
