"""A request that cannot be answered in time is told so at once, and costs nothing."""

import anyio

from scheduler import EXAMPLE, DeadlineMissed, Model, NeverFits, Runtime
from scheduler.core.settings import PoolBudget, Settings

MIB = 1024**2


async def main() -> None:
    settings = Settings(pools={"unified": PoolBudget(budget_bytes=150 * MIB)})
    async with Runtime(settings) as rota:
        slow = {"load": "400ms", "infer": "10ms", "memory": "100MiB"}
        rota.register(Model(name="slow", engine="synthetic", options=slow, footprint="100MiB"))
        rota.register(Model(name="huge", engine="synthetic", options=slow, footprint="1GiB"))

        await rota.infer("slow", EXAMPLE)  # Now it is known how long its load takes.
        await rota.unload("slow")
        try:
            await rota.infer("slow", EXAMPLE, deadline=0.1)
        except DeadlineMissed as missed:
            print(f"missed: {missed}")
        try:
            await rota.infer("huge", EXAMPLE)
        except NeverFits as never:
            print(f"never: {never}")


anyio.run(main)
