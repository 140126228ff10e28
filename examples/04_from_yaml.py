"""A program beside a configuration: the models are in the file, the program asks."""

from pathlib import Path

import anyio

from scheduler import EXAMPLE, Runtime

CONFIG = Path(__file__).parent.parent / "configs" / "minimal.yaml"


async def main() -> None:
    async with Runtime.from_config(CONFIG) as rota:
        for name in rota.models():
            await rota.infer(name, EXAMPLE)
            print(f"{name} answered")
        for pool in rota.snapshot().pools:
            print(f"{pool.name}: {pool.reserved_bytes >> 20} of {pool.budget_bytes >> 20} MiB")


anyio.run(main)
