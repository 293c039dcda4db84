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
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from litellm_accel import _backend, components, exit_cleanup, hot, import_watch, patching, settings
from litellm_accel.components.base import Component, Native, ProbeMismatch, Replaced, Unavailable, Unproven, prepared
from litellm_accel.quiet import quiet
from litellm_accel.report import AccelerationError, ComponentStatus, Report, State
from litellm_accel.stock import releases

_logger = logging.getLogger("litellm_accel")
_HOST = "litellm"
_WANTED = ("active", "waiting")
_OF_RECORDS = ("chat", "streaming", "embeddings")  # what ``verify`` makes records of


class _Activation:
    """One component's state in this process: its gate, its patches, and why it is as it is."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state: State = "off"
        self.reason = "not switched on"
        self.is_wanted = False  # the application has asked for it
        self.is_held_back = False  # settings switch it off
        self.patches: list[patching.Patch] = []
        self.gate = hot.gate.Gate(name, settings.max_faults())
        self.counting_since = time.monotonic()

    def start(self) -> bool:
        """Activate the component, or record why that is impossible. Leaves nothing half done. Returns whether it is."""
        refusal = None if _control is None else _control.refusal(self.name)
        self.is_held_back = refusal is not None
        if refusal is not None:
            self.state, self.reason = "off", refusal
            return False
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
            self.gate.observe_with(_observer())
            if _control is not None:
                _control.started(self.name, self.gate)
        return self.state == "active"

    def begin_counting(self) -> None:
        """Set all counters to zero."""
        self.gate.clear()
        self.counting_since = time.monotonic()

    @property
    def is_switched_off(self) -> bool:
        """Whether settings switch the component off."""
        return _control is not None and _control.refusal(self.name) is not None

    @property
    def host(self) -> str:
        """The module whose import the component waits for."""
        return components.HOSTS.get(self.name, _HOST)

    def wait(self) -> None:
        """Note that the component is to be activated when its host is there."""
        host = "LiteLLM" if self.host == _HOST else self.host
        self.state, self.reason = "waiting", f"waits for {host} to be imported"

    def _prepare(self, component: Component) -> list[patching.Patch]:
        if any(map(_backend.must_compare, component.hot_modules)):
            raise Unavailable("slower than LiteLLM on this Python without compiled modules")
        replaced: dict[str, Replaced] = {}
        patches = []
        self.gate.set_share(1.0)
        for replacement in component.replacements(self.gate):
            patch, replaced[replacement.target] = prepared(replacement)
            patches.append(patch)
        self.gate.switch(True)
        component.prove(replaced)
        return patches

    def _settle(self, state: State, reason: str) -> None:
        self.gate.switch(False)
        self.gate.clear()
        self.patches = []
        self.state, self.reason = state, reason
        if state != "native":  # where nothing is missing
            _logger.warning("litellm-accel: %s stays off (%s): %s", self.name, state, reason)

    def stop(self) -> None:
        """Give back every function; what somebody else has changed meanwhile runs stock through our closed gate."""
        self.is_wanted = False
        if self.state == "waiting":
            self.state, self.reason = "off", "restored"
            return
        if _control is not None:
            _control.stopped(self.name)
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
            elif gate.is_open:
                state, reason = "failed", f"breaker open after {gate.faults} faults; last: {gate.last_fault}"
            elif _control is not None and (refusal := _control.refusal(self.name)) is not None:
                state, reason = "off", refusal
        mode = "" if _control is None or state == "off" else _control.mode(self.name)
        return ComponentStatus(
            self.name,
            state,
            reason,
            _backend_of(self.name),
            gate.served,
            gate.declined,
            gate.faults,
            level,
            mode,
            gate.bypassed,
            components.get(self.name).partly,
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
Observer = Callable[[hot.gate.Gate, int, object, int], None]
_observers: list[Observer] = []
_control: Any = None  # operation.control.CONTROL, once something is configured
_activations: dict[str, _Activation] = {}


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)  # another thread may have held it when the process forked


def locked() -> threading.RLock:
    """Return the lock that whoever changes components holds."""
    return _lock


def observe(observer: Observer, wanted: bool) -> None:
    """Tell ``observer`` of each call from now on, as a ``Gate`` does, or no longer."""
    with _lock:
        if wanted:
            _observers.append(observer)
        elif observer in _observers:
            _observers.remove(observer)
        for activation in _activations.values():
            activation.gate.observe_with(_observer())


def _observer() -> Observer | None:
    """Return what tells all observers, or None if there is none."""
    observers = tuple(_observers)
    if len(observers) < 2:
        return observers[0] if observers else None

    def tell(*call: Any) -> None:
        for observer in observers:
            observer(*call)

    return tell


def host_paths() -> list[str]:
    """Return where the files of LiteLLM are, if it has been imported."""
    return list(getattr(sys.modules.get(_HOST), "__path__", ()))


def activations() -> dict[str, _Activation]:
    """Return what there is of components in this process, by name."""
    return _activations


def setting_problems() -> list[str]:
    """Return a line for each setting that is not understood."""
    return [*settings.problems(), *(() if _control is None else _control.problems)]


def accelerate(
    components: str | Iterable[str] | None = None,
    *,
    strict: bool = False,
    verify: Literal["background"] | None = None,
    config: Any = None,
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

    ``config``, a mapping or the path of a JSON or TOML file, is put over the settings of the environment, and these
    over those of a file (``docs/operations.md``). What they switch off is not activated, nor missed by ``strict``; what
    cannot be understood is logged and turns nothing on. With ``config=False`` no settings are read.

    Returns the ``Report`` of all components. Raises ``ValueError`` for an unknown name, ``TypeError`` for something
    else than names, ``ImportError`` if LiteLLM is not installed.
    """
    global _verifies
    if verify not in (None, settings.BACKGROUND):
        raise ValueError(f"verify: {verify!r} is not {settings.BACKGROUND!r}")
    names = names_of(components)
    _verifies = _verifies or verify is not None
    is_there = _meet_litellm(strict)
    with _lock:
        _read_settings(config)
        _log_calls()
        _want(names, is_there, strict)
    _catch_up()
    return status()


def configure(config: Any = None, **values: Any) -> Report:
    """Change settings while the program runs; they are put over all others until ``restore()``.

    ``config`` is a mapping or the path of a file, ``values`` are single settings, as in
    ``configure(components={"chat": {"mode": "rollout", "percent": 50}})``. Returns the ``Report`` of all components.
    Raises ``ValueError`` that names the value and what is allowed; nothing has changed then.
    """
    with _lock:
        control = _operated()
        if config is not None:
            control.configure(config)
        if values:
            control.configure(values)
    return status()


def _operated() -> Any:
    """Return what is set in this process, which is read now if it was not before."""
    global _control
    if _control is None:
        from litellm_accel.operation.control import CONTROL

        _control = CONTROL
        _control.load()
        for name, activation in _activations.items():
            if activation.state == "active":
                _control.started(name, activation.gate)
    return _control


def _log_calls() -> None:
    """Log each call where that is asked for."""
    if not settings.verbose() and not 0 < _logger.level <= logging.DEBUG:
        return
    from litellm_accel.operation.profiler import log_calls

    if settings.verbose() and not _logger.isEnabledFor(logging.DEBUG):
        _logger.setLevel(logging.DEBUG)
        _logger.addHandler(logging.StreamHandler())
    if log_calls not in _observers:
        observe(log_calls, True)


def _read_settings(config: Any) -> None:
    if config is False:
        if _control is not None:
            _control.forget()
    elif config is not None or _control is not None or settings.is_configured():
        _operated().load(config)


def follow_settings() -> None:
    """Activate what the application has asked for and settings no longer switch off."""
    with _lock:
        if _control is None or not import_watch.is_imported(_HOST):
            return
        held = [name for name, one in _activations.items() if one.is_wanted and one.is_held_back]
        if started := [name for name in held if _control.refusal(name) is None]:
            _start(started)


def restore() -> None:
    """Give LiteLLM back exactly as it was, and wait for it no longer. Does nothing where nothing is accelerated."""
    global _verifies
    with _lock:
        _verifies = False
        _stop([name for name, activation in _activations.items() if activation.state in _WANTED])
        for activation in _activations.values():
            activation.is_wanted = False
        if _control is not None:
            _control.forget()


@contextmanager
def accelerated(
    components: str | Iterable[str] | None = None, *, strict: bool = False, config: Any = None
) -> Iterator[Report]:
    """Accelerate LiteLLM inside a ``with`` block; afterwards what the block switched on is off again.

    Arguments, result and errors are those of ``accelerate()``. LiteLLM may be imported inside the block.
    """
    names = names_of(components)
    is_there = _meet_litellm(strict)
    with _lock:
        _read_settings(config)
        _log_calls()
        before = {name for name in names if _is_wanted(name)}
        _want(names, is_there, strict)
        started = [name for name in names if name not in before and _is_wanted(name)]
    _catch_up()
    try:
        yield status()
    finally:
        with _lock:
            _stop([name for name in started if _activations[name].state in _WANTED])


# What packages that set out to do the same call them.
apply_acceleration = accelerate
remove_acceleration = restore


def status() -> Report:
    """Return the state and counters of every component.

    Nothing is changed, unless LiteLLM was imported in a way that could not be seen: what waits for it is activated now.
    """
    with _lock:
        if due := _due():
            _start(due)
        rows = [
            _activations[name].status() if name in _activations else _never_started(name) for name in components.NAMES
        ]
    return Report(_litellm_version(), tuple(rows))


def reset_errors(components: str | Iterable[str] | None = None) -> None:
    """Forget the internal faults of ``components`` (None: all) and close their breakers.

    Raises ``ValueError`` for an unknown name.
    """
    with _lock:
        for name in list(_activations) if components is None else names_of(components):
            if name in _activations:
                _activations[name].gate.reset_errors()


def names_of(wanted: str | Iterable[str] | None) -> list[str]:
    """Return names of components, None standing for all. Raises ``ValueError`` and ``TypeError``."""
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
        if due := _due():
            _start(due)


def _watch_for(host: str) -> import_watch.ImportWatch:
    """Return what activates components that wait for ``host``. The import that has just ended must not fail of it."""

    def imported() -> None:
        try:
            with _lock:
                _start(_waiting(host))
        except Exception:
            _logger.debug("litellm-accel: nothing can be activated", exc_info=True)

    return import_watch.ImportWatch(host, imported)


_watches = {host: _watch_for(host) for host in (_HOST, *components.HOSTS.values())}


def _follow_imports() -> None:
    """Watch the imports that a component waits for, and no others."""
    for host, watch in _watches.items():
        if _waiting(host):
            watch.start()
        else:
            watch.stop()


def _want(names: list[str], is_there: bool, strict: bool) -> None:
    """Activate components, or have them wait for LiteLLM. Raises ``AccelerationError``."""
    for name in names:
        _activation(name).is_wanted = True
    if not is_there and strict:
        raise AccelerationError(dict.fromkeys(names, "LiteLLM is being imported by the caller"))
    if not is_there:
        for name in names:
            if (activation := _activation(name)).state != "active":
                activation.wait()
        _follow_imports()
        return
    waiting = _waiting()
    started = _start(dict.fromkeys([*names, *waiting]))
    asked = names if _control is None else [name for name in names if _control.refusal(name) is None]
    failures = {name: _activations[name].status().reason for name in asked if _is_missing(name)}
    if strict and failures:
        _stop([name for name in started if name not in waiting])
        raise AccelerationError(failures)


def _is_missing(name: str) -> bool:
    if _activations[name].status().state == "waiting":
        return _activations[name].host == _HOST  # what is LiteLLM's only in some programs is not missing elsewhere
    return _activations[name].status().state not in ("active", "native")


def _waiting(host: str | None = None) -> list[str]:
    """Return the components that wait for ``host``, None: for any."""
    return [
        name
        for name in components.NAMES
        if name in _activations and _activations[name].state == "waiting" and host in (None, _activations[name].host)
    ]


def _due() -> list[str]:
    """Return the components that wait for what is there."""
    return [name for name in _waiting() if import_watch.is_imported(_activations[name].host)]


def _start(names: Iterable[str]) -> list[str]:
    """Activate components that are not active, or have them wait for their host; return which of them are now."""
    started: list[str] = []
    with _without_collection():
        for name in names:
            activation = _activation(name)
            if activation.state == "active":
                continue
            if activation.host != _HOST and not import_watch.is_imported(activation.host):
                activation.wait()
            elif activation.start():
                started.append(name)
    _follow_imports()
    for name in started:
        _activations[name].begin_counting()  # anew, after the calls by which other components proved themselves
    if _verifies or settings.verifies():
        _verify_beside()
    return started


@contextmanager
def _without_collection() -> Iterator[None]:
    """Keep Python's garbage collector from running: one look at all that LiteLLM holds takes longer than the block.

    What the block makes lasts. It joins the oldest objects at once, or it would bring the next such look forward.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            if not gc.get_freeze_count():  # else the application has frozen objects, which are to stay so
                gc.freeze()
                gc.unfreeze()
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
    _follow_imports()


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
        return releases.version(_HOST)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
