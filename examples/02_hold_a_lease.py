"""A program holds an engine for several calls, and loses it to somebody more important."""

import anyio

from scheduler import EXAMPLE, LeaseRevoked, Model, Runtime
from scheduler.core.settings import PoolBudget, Settings

MIB = 1024**2
TIMES = {"load": "50ms", "infer": "10ms", "memory": "100MiB"}


async def dock(rota: Runtime, under_way: anyio.Event) -> None:
    async with rota.lease("segmenter", priority=40, ttl=2.0) as lease:
        for step in range(1000):
            try:
                await lease.infer(EXAMPLE)
                lease.renew()
            except LeaseRevoked as revoked:
                print(f"docking stops after {step} steps: {revoked}")
                return
            if step == 10:
                under_way.set()


async def main() -> None:
    settings = Settings(pools={"unified": PoolBudget(budget_bytes=150 * MIB)})
    async with Runtime(settings) as rota, anyio.create_task_group() as tasks:
        for name in ("segmenter", "obstacles"):
            rota.register(Model(name=name, engine="synthetic", options=TIMES, footprint="100MiB"))
        under_way = anyio.Event()
        tasks.start_soon(dock, rota, under_way)
        await under_way.wait()
        await rota.infer("obstacles", EXAMPLE, priority="high")
        print("obstacles answered: the lease was less important and made room")


anyio.run(main)
