"""A whole configuration, validated."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator

from scheduler.config.device import DEFAULT_POOL
from scheduler.config.memory import Memory, PoolConfig
from scheduler.config.mode import ModeConfig, none_is_no_mode
from scheduler.config.model import Model, Rules
from scheduler.config.mqtt import FLEET, Mqtt
from scheduler.config.name import Name, PoolName, host_node
from scheduler.config.scheduling import Scheduling
from scheduler.config.section import Count, Section
from scheduler.config.sink import SinkConfig
from scheduler.config.source import SourceConfig
from scheduler.core.mode import Mode
from scheduler.core.settings import PoolBudget, Settings
from scheduler.errors import ConfigError

MAIN_MEMORY = {DEFAULT_POOL: "host", "host": DEFAULT_POOL}
"""Both are the machine's main memory: what is known of one holds for the other."""


def _name_from_key(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {
        name: {**body, "name": name} if isinstance(body, Mapping) else body
        for name, body in value.items()
    }


class Config(Section):
    """What one file says. `load_config` makes it, with defaults applied and options validated.

    Each of `models` has its `device` and, as `options`, an instance of its plugin's own `Options`.
    """

    node: Name = Field(default_factory=host_node)
    memory: Memory = Memory()
    resources: dict[PoolName, Count] = Field(default_factory=dict)
    scheduling: Scheduling = Scheduling()
    defaults: Rules = Rules()
    models: Annotated[dict[Name, Model], BeforeValidator(_name_from_key)] = Field(
        default_factory=dict
    )
    sources: dict[Name, SourceConfig] = Field(default_factory=dict)
    sinks: dict[Name, SinkConfig] = Field(default_factory=dict)
    modes: dict[Name, ModeConfig] = Field(default_factory=dict)
    mode: Annotated[Name | None, BeforeValidator(none_is_no_mode)] = None
    mqtt: Mqtt | None = None

    @field_validator("node")
    @classmethod
    def _is_no_word_of_the_topics(cls, node: str) -> str:
        if node == FLEET:
            raise ValueError(f"{node} stands in topics for what nodes share; choose another name")
        return node

    def settings(self, total_bytes: Mapping[str, int]) -> Settings:
        """Return what the core is told, on a machine that has `total_bytes` in each pool.

        A pool whose budget is a size need not be in `total_bytes`. `unified` and `host` stand for
        each other. Raises ConfigError when a budget depends on a pool that is not known.
        """
        pools = self.memory.by_pool()
        unknown = [
            f"{self.budget_key(name)}: nothing is known of the size of {name} on this machine; "
            "write a size such as 2GiB"
            for name, pool in pools.items()
            if pool.budget.needs_machine and total_of(name, total_bytes) is None
        ]
        if unknown:
            raise ConfigError(unknown)
        return Settings(
            pools={name: _budget(name, pool, total_bytes) for name, pool in pools.items()},
            resources=dict(self.resources),
            trust=self.memory.trust,
            ageing_ns=self.scheduling.ageing,
            queue_bytes=self.scheduling.queue_bytes,
            queue_pool=next((name for name in pools if name in MAIN_MEMORY), None),
            policy=self.scheduling.policy,
            mode=self.core_mode(self.mode),
        )

    def core_mode(self, name: str | None) -> Mode | None:
        """Return what the core is told of a mode, None of none. Raises KeyError."""
        return None if name is None else self.modes[name].to_mode(name)

    def in_mode(self, name: str | None) -> "Config":
        """Return the configuration that one mode comes to, without any other.

        Disabled models are left out, with their sources and what is cut from these.
        """
        if name is None:
            return self.model_copy(update={"modes": {}, "mode": None})
        mode = self.modes[name]
        models = {
            model: written.model_copy(
                update={
                    "pinned": written.pinned or model in mode.pin,
                    "priority": mode.priority.get(model, written.priority),
                }
            )
            for model, written in self.models.items()
            if model not in mode.disable
        }
        fed = {key: source for key, source in self.sources.items() if source.model in models}
        while silent := [key for key, s in fed.items() if (s.from_.source or key) not in fed]:
            fed = {key: source for key, source in fed.items() if key not in silent}
        return self.model_copy(update={"models": models, "sources": fed, "modes": {}, "mode": None})

    def budget_key(self, pool: str) -> str:
        """Return the key under which the budget of `pool` stands."""
        return f"memory.pools.{pool}.budget" if self.memory.pools else "memory.budget"


def total_of(pool: str, total_bytes: Mapping[str, int]) -> int | None:
    """Return the size of a pool on the machine, or None where it is not known."""
    return total_bytes.get(pool, total_bytes.get(MAIN_MEMORY.get(pool, pool)))


def _budget(name: str, pool: PoolConfig, total_bytes: Mapping[str, int]) -> PoolBudget:
    return pool.to_budget(total_of(name, total_bytes) or 0)
