"""Rota: one small machine does the work of several models."""

from scheduler.config import Footprint, Model
from scheduler.core.outcome import Outcome, Reason, ReasonCode
from scheduler.errors import (
    BadInput,
    ConfigError,
    DeadlineMissed,
    EngineError,
    EngineOutOfMemory,
    InferenceFailed,
    LeaseRevoked,
    ModelDisabled,
    ModeRefused,
    NeverFits,
    PluginError,
    QueueFull,
    Rejected,
    RequestError,
    RotaError,
    ShuttingDown,
    UnknownModel,
)
from scheduler.plugin.engine import EXAMPLE, EngineContext, EngineOptions, EnginePlugin
from scheduler.runtime.call import FormUsed
from scheduler.runtime.lease import Lease
from scheduler.runtime.runtime import Runtime
from scheduler.runtime.switching import Switched

__all__ = [
    "EXAMPLE",
    "BadInput",
    "ConfigError",
    "DeadlineMissed",
    "EngineContext",
    "EngineError",
    "EngineOptions",
    "EngineOutOfMemory",
    "EnginePlugin",
    "Footprint",
    "FormUsed",
    "InferenceFailed",
    "Lease",
    "LeaseRevoked",
    "ModeRefused",
    "Model",
    "ModelDisabled",
    "NeverFits",
    "Outcome",
    "PluginError",
    "QueueFull",
    "Reason",
    "ReasonCode",
    "Rejected",
    "RequestError",
    "RotaError",
    "Runtime",
    "ShuttingDown",
    "Switched",
    "UnknownModel",
]
