"""The conformance check: every rule of `EnginePlugin`, tried on a real engine."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from scheduler.plugin.engine import EngineContext, EngineOptions, EnginePlugin
from scheduler.testing.failure import EngineCheckFailed
from scheduler.testing.trial import BAD_PAYLOADS, Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

THREAD_GRACE_S = 2.0


def check_engine(
    plugin: type[EnginePlugin],
    options: Mapping[str, Any] | EngineOptions,
    *,
    payload: Any = None,
    bad_payloads: Sequence[Any] = BAD_PAYLOADS,
    context: EngineContext | None = None,
) -> tuple[str, ...]:
    """Try every rule of `EnginePlugin` on a real engine, in a thread of its own as Rota does.

    Loads the engine twice and runs it some ten times, so it belongs into the plugin's own tests.

    Args:
        plugin: the engine's class.
        options: what the configuration's `options:` would hold, or an instance of the class's own.
        payload: an input that the engine takes; None asks the engine's `example()` for one.
        bad_payloads: inputs that it must refuse. Give your own where one of these is good input.
        context: where the engine is placed.

    Returns:
        Remarks: what is allowed, but good to know when the model is configured.

    Raises:
        EngineCheckFailed: the first rule that is broken; its `rule` names it.
    """
    valid = _valid_options(plugin, options)
    trial = Trial(plugin, valid, context or EngineContext(), payload, tuple(bad_payloads))
    threads_before = set(threading.enumerate())
    _in_own_thread(trial.run)
    _check_no_thread_left(plugin, threads_before)
    return tuple(trial.remarks)


def _valid_options(
    plugin: type[EnginePlugin], options: Mapping[str, Any] | EngineOptions
) -> EngineOptions:
    if not issubclass(plugin.Options, EngineOptions):
        raise EngineCheckFailed("options", plugin, "Options must derive from EngineOptions")
    given = {} if isinstance(options, EngineOptions) else dict(options)
    if _takes_key(plugin.Options, given, "no_such_option"):
        sentence = "Options takes an unknown key; keep extra='forbid' so that misspelt keys show"
        raise EngineCheckFailed("options", plugin, sentence)
    if isinstance(options, plugin.Options):
        return options
    try:
        return plugin.Options.model_validate(given)
    except ValidationError as error:
        raise EngineCheckFailed(
            "options", plugin, f"the options given do not fit: {error}"
        ) from None


def _takes_key(model: type[EngineOptions], given: Mapping[str, Any], key: str) -> bool:
    try:
        model.model_validate({**given, key: 1})
    except ValidationError as error:
        return not any(mistake["type"] == "extra_forbidden" for mistake in error.errors())
    return True


def _in_own_thread(function: Callable[[], None]) -> None:
    """Run `function` in a new thread, and raise here what it raised there."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001 - it is raised again by the caller's thread
            raised.append(error)

    thread = threading.Thread(target=run, name="check_engine")
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def _check_no_thread_left(plugin: type[EnginePlugin], before: set[threading.Thread]) -> None:
    """Python threads only: those of native libraries are not ours to see."""
    for thread in set(threading.enumerate()) - before:
        thread.join(THREAD_GRACE_S)
        if thread.is_alive():
            sentence = f"thread {thread.name!r} still runs after unload(); end it there"
            raise EngineCheckFailed("threads", plugin, sentence)
