"""Every error that Rota raises on purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scheduler.core.outcome import Reason


class RotaError(Exception):
    """The root: catch this to catch everything Rota raises on purpose."""


class ConfigError(RotaError):
    """Raised when a configuration is wrong. `mistakes` holds one line per mistake, all of them."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class PluginError(RotaError):
    """Raised when an engine plugin cannot be found, imported or given its options."""


class EngineError(RotaError):
    """Raised by a plugin whose engine cannot do what it was asked to do."""


class EngineOutOfMemory(EngineError):  # noqa: N818 - the field says "out of memory"
    """Raised by a plugin when the load or the run failed for lack of memory."""


class BadInput(EngineError):  # noqa: N818 - it names the input, not the engine
    """Raised by a plugin when a payload is not what the engine takes. The engine is well."""


class DeviceLost(EngineError):  # noqa: N818 - the field says "device lost"
    """Raised by a plugin when its device fails for the whole process, until that ends.

    After an illegal access, a launch that timed out or a memory error every later CUDA call of the
    process fails alike, of every engine on that device. Loading again does not help; a new process
    does.
    """


class RequestError(RotaError):
    """The root of what `infer` and `lease` raise when a request did not complete.

    `reason` says why, for programs (`reason.code`) and for people (`str(reason)`). `has_run` tells
    whether an engine was given the payload, and so may have done what it was asked for.
    """

    has_run = False

    def __init__(self, reason: Reason) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Rejected(RequestError):  # noqa: N818 - an outcome's name
    """Raised when a request is refused at the door."""


class NeverFits(Rejected):
    """Raised when a request can never be served as things are declared."""


class QueueFull(Rejected):
    """Raised when too much already waits, by count or by bytes. Trying later makes sense."""


class ShuttingDown(Rejected):
    """Raised when the runtime is draining, or has gone."""


class UnknownModel(Rejected):
    """Raised when no model of that name is registered (or it is being removed)."""


class ModelDisabled(Rejected):
    """Raised when the mode that is in force has disabled the model."""


class ModeRefused(Rejected):
    """Raised when a mode cannot be switched to. Nothing has changed."""


class DeadlineMissed(RequestError):  # noqa: N818 - an outcome's name
    """Raised when the deadline passed, or cannot be met any more."""


class InferenceFailed(RequestError):  # noqa: N818 - an outcome's name
    """Raised when the engine failed to load or to run. `__cause__` is the plugin's own error."""


class LeaseRevoked(RequestError):  # noqa: N818 - an outcome's name
    """Raised when a lease was taken back: for a higher priority, on expiry, or by an operator."""
