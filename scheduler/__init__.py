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
from scheduler.runtime.lease import Lease
from scheduler.runtime.runtime import Runtime

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
    "InferenceFailed",
    "Lease",
    "LeaseRevoked",
    "Model",
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
    "UnknownModel",
]
