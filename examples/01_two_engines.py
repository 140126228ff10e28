"""Two engines that cannot coexist take turns: their memory does not fit together."""

import anyio

from scheduler import EXAMPLE, Model, Runtime
from scheduler.core.settings import PoolBudget, Settings

MIB = 1024**2


def model(name: str, memory: str) -> Model:
    options = {"load": "100ms", "infer": "10ms", "memory": memory}
    return Model(name=name, engine="synthetic", options=options, footprint=memory)


async def main() -> None:
    settings = Settings(pools={"unified": PoolBudget(budget_bytes=300 * MIB)})
    async with Runtime(settings) as rota:
        rota.register(model("detector", "200MiB"))
        rota.register(model("segmenter", "180MiB"))
        for name in ("detector", "segmenter", "detector"):
            await rota.infer(name, EXAMPLE)
            loaded = [e.model for e in rota.snapshot().engines if e.state == "ready"]
            print(f"asked {name}, in memory: {', '.join(loaded)}")


anyio.run(main)
