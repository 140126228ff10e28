"""The runtime: the core, and the real world around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import anyio

from scheduler.config import Config, load_config
from scheduler.config.check import check_modes
from scheduler.config.priority import read_priority
from scheduler.core.events import LeaseRevocationAsked, MemorySampled, PinChanged, PriorityChanged
from scheduler.core.outcome import Reason, ReasonCode
from scheduler.core.request import RequestKind
from scheduler.errors import ConfigError, ShuttingDown, UnknownModel
from scheduler.memory.budget import machine_totals
from scheduler.memory.process import resident_bytes
from scheduler.runtime.caller import Caller
from scheduler.runtime.change import Change, compare
from scheduler.runtime.clock import Clock, MonotonicClock
from scheduler.runtime.driver import Driver
from scheduler.runtime.lease import Lease
from scheduler.runtime.loop import running_loop
from scheduler.runtime.measuring import Meter
from scheduler.runtime.registration import Registration, registration
from scheduler.runtime.seconds import span_ns
from scheduler.runtime.suspend import SuspendWatch, asleep_ns
from scheduler.runtime.switching import Switched, named

if TYPE_CHECKING:
    import os
    from types import TracebackType

    from typing_extensions import Self

    from scheduler.config import Model
    from scheduler.core.mode import Mode
    from scheduler.core.settings import Settings
    from scheduler.core.snapshot import Snapshot
    from scheduler.plugin.engine import EngineOptions, EnginePlugin
    from scheduler.runtime.call import FormUsed
    from scheduler.runtime.pump import Observer

DRAIN_LIMIT_S = 5.0
GRACE_S = 1.0
"""By how much leaving may outlast the drain's limit, should the clock be one that stands still."""


class Runtime:
    """Serves requests to models that share a memory budget.

    `async with Runtime(settings) as runtime:` under asyncio or trio; all methods belong to that
    event loop's thread. Leaving drains: what waits is refused, what runs may end within
    `drain_limit_s` seconds, engines are unloaded, and a hung one is left to its daemon thread.

    `modes` can be switched to while it runs; `settings.mode` is the one that it begins with.
    `observers` see every step as a `Record`. `clock`, `read_resident_bytes` (the process's resident
    set) and `read_asleep_ns` (time spent suspended) are there to be replaced in tests.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        modes: Iterable[Mode] = (),
        observers: Iterable[Observer] = (),
        drain_limit_s: float = DRAIN_LIMIT_S,
        clock: Clock | None = None,
        read_resident_bytes: Callable[[], int] = resident_bytes,
        read_asleep_ns: Callable[[], int] = asleep_ns,
    ) -> None:
        drain_limit_ns = span_ns(drain_limit_s, "drain_limit_s")
        if drain_limit_ns is None:
            raise ValueError("drain_limit_s must be finite: leaving must end")
        self._settings = settings
        self._modes = {mode.name: mode for mode in modes}
        self._observers = tuple(observers)
        self._drain_limit_ns = drain_limit_ns
        self._clock = clock or MonotonicClock()
        self._read_resident_bytes = read_resident_bytes
        self._read_asleep_ns = read_asleep_ns
        self._registered_early: dict[str, Registration] = {}
        self._caller: Caller | None = None
        self._has_left = False

    @classmethod
    def from_config(
        cls,
        config: Config | str | os.PathLike[str],
        *,
        observers: Iterable[Observer] = (),
        clock: Clock | None = None,
    ) -> Self:
        """Make a runtime of a configuration or of its file, with all models registered.

        Raises ConfigError for a wrong file, with every mistake in it.
        """
        if not isinstance(config, Config):
            config = load_config(config)
        settings = config.settings(total_bytes=machine_totals())
        drain_limit_s = config.scheduling.drain / 1e9
        runtime = cls(
            settings,
            modes=[mode.to_mode(name) for name, mode in config.modes.items()],
            observers=observers,
            clock=clock,
            drain_limit_s=drain_limit_s,
        )
        for model in config.models.values():
            runtime.register(model)
        return runtime

    async def __aenter__(self) -> Self:
        """Start. Pinned models begin to load."""
        if self._caller is not None:
            raise RuntimeError("a runtime is entered once; make another")
        loop = running_loop()
        driver = Driver(
            self._settings,
            loop=loop,
            clock=self._clock,
            observers=self._observers,
            meter=Meter(self._read_resident_bytes),
            suspend=SuspendWatch(self._read_asleep_ns),
        )
        self._caller = Caller(driver, loop, self._clock)
        for registered in self._registered_early.values():
            driver.register(registered)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Drain within the limit, then stop. Also when cancelled; never hangs on an engine."""
        driver = self._running().driver
        try:
            with anyio.move_on_after(self._drain_limit_ns / 1e9 + GRACE_S, shield=True):
                await driver.drain(self._drain_limit_ns).wait()
        finally:
            self._has_left = True
            driver.close()

    # -- models -----------------------------------------------------------------------------

    def register(
        self,
        model: Model,
        engine: type[EnginePlugin] | str | None = None,
        options: Mapping[str, Any] | EngineOptions | None = None,
    ) -> None:
        """Add a model, before or after entering. `engine` and `options` default to the model's own.

        Raises ValueError when there is a model of that name or a pool of its footprint does not
        exist, PluginError when the engine cannot be found or refuses its options.
        """
        if model.name in self._registrations():
            raise ValueError(f"a model {model.name!r} is registered already; unregister it first")
        pools = self._settings.pools
        registered = registration(model.on(tuple(pools)), engine, options, next(iter(pools)))
        registered.check_pools(tuple(pools))
        if self._caller is None:
            self._registered_early[model.name] = registered
        else:
            self._running().driver.register(registered)

    async def unregister(self, name: str) -> None:
        """Take a model away: what waits for it is refused, its engine unloads when it is idle.

        Returns when it is out of memory. Raises UnknownModel.
        """
        await self._knowing(name).driver.remove(name).wait()

    async def reconfigure(self, config: Config) -> Change:
        """Take over another configuration while running; what stays the same is not disturbed.

        Everything is checked before anything is touched: on an error the old one stays whole. A
        changed model ends its running work as it was, and comes back as it is now; meanwhile it is
        unknown. The mode stays, as it is now; one that is gone is left. Returns what was done.

        Raises ConfigError for what cannot change while running and for a mode that cannot be,
        PluginError for an engine that is not there or refuses its options.
        """
        driver = self._running().driver
        settings = config.settings(total_bytes=machine_totals())
        change = compare(self.models(), config.models, self._settings, settings)
        if hopeless := [found.text for found in check_modes(config, settings) if found.fatal]:
            raise ConfigError(hopeless)
        first_pool = next(iter(settings.pools))
        added = [registration(config.models[name], None, None, first_pool) for name in change.added]
        self._settings = settings
        await change.carry_out(driver, config.models, added)
        self._modes = {name: mode.to_mode(name) for name, mode in config.modes.items()}
        driver.switching.keep_up(driver.core.mode, self._modes)
        return change

    async def switch(self, mode: str | None) -> Switched:
        """Put another of the modes in force, None for none, whole or not at all.

        From that moment its priorities, pins and disabled models count. Returns when all that is
        pinned has been loaded (or has failed to) and all that had to go is gone; who does not want
        to wait for that may be cancelled, the mode stays. Raises ModeRefused for a mode that is not
        known or whose pins can never be in memory together, ShuttingDown.
        """
        driver = self._running().driver
        return await driver.switching.to(named(mode, self._modes)).wait()

    def modes(self) -> tuple[str, ...]:
        """The names of the modes that can be switched to; `snapshot().mode` is in force."""
        return tuple(self._modes)

    def models(self) -> dict[str, Model]:
        """The registered models by name, those included that are being removed."""
        return {name: registered.model for name, registered in self._registrations().items()}

    def pin(self, name: str) -> None:
        """Load a model now and never evict it. Raises UnknownModel."""
        self._knowing(name).driver.tell(PinChanged(name, pinned=True))

    def unpin(self, name: str) -> None:
        """Take a pin away. Raises UnknownModel."""
        self._knowing(name).driver.tell(PinChanged(name, pinned=False))

    def set_priority(self, name: str, priority: int | str | None) -> None:
        """Give a model another priority, None for its own. Raises UnknownModel, ValueError."""
        value = None if priority is None else read_priority(priority)
        self._knowing(name).driver.tell(PriorityChanged(name, value))

    async def load(self, name: str) -> None:
        """Have a model's engine in memory. Raises RequestError when it cannot be."""
        await self._running().change(RequestKind.LOAD, name)

    async def unload(self, name: str) -> None:
        """Have a model's engine out of memory. Raises Rejected for a pinned one."""
        await self._running().change(RequestKind.UNLOAD, name)

    # -- requests ---------------------------------------------------------------------------

    async def infer(
        self,
        model: str,
        payload: Any,
        *,
        deadline: float | None = None,
        priority: int | str | None = None,
        stream: str | None = None,
        items: int = 1,
        form: FormUsed | None = None,
    ) -> Any:
        """Run a model once: waits for its turn, loads the engine if need be, returns its result.

        Args:
            model: the model's name.
            payload: what the engine takes; `EXAMPLE` for one of the engine's own choosing.
            deadline: seconds from now after which the answer is of no use; `math.inf` for none,
                None for the model's own.
            priority: 0 to 100, higher goes first, or a word such as "high"; None for the model's.
            stream: the source, of which `queue.keep: latest` keeps the newest request alone.
            items: how many of the batch's places it takes.
            form: is told which variant answered, and where.

        Raises:
            DeadlineMissed: it passed, or cannot be met.
            InferenceFailed: the engine failed to load or to run; `__cause__` is its own exception.
            NeverFits, QueueFull, UnknownModel, ShuttingDown, Rejected: it was refused.
            ValueError: an argument is out of range.
            RuntimeError: the runtime has not been entered.
        """
        return await self._running().infer(
            model, payload, form, deadline=deadline, priority=priority, stream=stream, items=items
        )

    def lease(
        self,
        *models: str,
        priority: int | str | None = None,
        ttl: float | None = None,
        deadline: float | None = None,
    ) -> Lease:
        """A lease on one or more models, to be used with `async with`.

        `ttl` is after how many seconds without `renew` it is taken back, `deadline` within how many
        it must be granted; None for no limit. Raises ValueError unless each model is named once.
        """
        return Lease(self._running, models, priority=priority, ttl=ttl, deadline=deadline)

    def revoke(self, lease_id: int) -> None:
        """Take a held lease back from its holder. A lease that has ended is no error."""
        self._running().driver.tell(LeaseRevocationAsked(lease_id))

    # -- the whole --------------------------------------------------------------------------

    def take_sample(self, sample: MemorySampled) -> None:
        """Tell what the machine says of a pool's memory. A pool that is not managed is no error."""
        if sample.pool in self._settings.pools:
            self._running().driver.tell(sample)

    async def drain(self, limit_s: float | None = None) -> bool:
        """Refuse what waits, let running work end, unload everything; nothing is taken on after.

        Returns when that is done (True), or when `limit_s` seconds have passed (False: some engine
        still works); None is the runtime's own limit, `math.inf` none.
        """
        limit_ns = self._drain_limit_ns if limit_s is None else span_ns(limit_s, "limit_s")
        driver = self._running().driver
        await driver.drain(limit_ns).wait()
        return driver.is_empty

    def snapshot(self) -> Snapshot:
        """The books, engines, leases and queue as of the last event. Also after leaving."""
        return self._entered().driver.core.snapshot()

    def oldest_runnable_ns(self) -> int:
        """For how long something that could go on has not: the runtime's pulse.

        The age of the oldest timer that is overdue, of the oldest answer of an engine that the
        event loop has not taken in, or of an internal error. Some milliseconds at most while all is
        well; it grows when the loop is blocked, whatever the snapshot says. May be called from any
        thread.
        """
        return self._entered().driver.oldest_runnable_ns()

    # -- where it stands --------------------------------------------------------------------

    def _registrations(self) -> Mapping[str, Registration]:
        return self._registered_early if self._caller is None else self._caller.driver.models

    def _entered(self) -> Caller:
        if self._caller is None:
            raise RuntimeError("the runtime is not running; use it inside `async with runtime:`")
        return self._caller

    def _running(self) -> Caller:
        if self._caller is None or self._has_left:
            self._entered()
            raise ShuttingDown(Reason(ReasonCode.SHUTTING_DOWN, "the runtime has been left"))
        return self._caller

    def _knowing(self, name: str) -> Caller:
        caller = self._running()
        if name not in caller.driver.models:
            detail = f"no model {name!r} is registered"
            raise UnknownModel(Reason(ReasonCode.UNKNOWN_MODEL, detail))
        return caller
