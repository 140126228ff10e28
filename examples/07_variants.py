"""A model in two forms: the large one where there is room for it, the small one beside others.

Which one answered is in `form`.
"""

import anyio

from scheduler import EXAMPLE, FormUsed, Model, Runtime
from scheduler.config import Config

CONFIG = Config.model_validate({"memory": {"budget": "300MiB"}})


def synthetic(memory: str, infer: str) -> dict[str, str]:
    return {"load": "50ms", "infer": infer, "memory": memory}


DETECTOR = Model(
    name="detector",
    engine="synthetic",
    variant="fp16",
    options=synthetic("200MiB", "20ms"),
    footprint="200MiB",
    variants=[{"name": "int8", "options": synthetic("90MiB", "8ms"), "footprint": "90MiB"}],
)
SPEECH = Model(
    name="speech", engine="synthetic", options=synthetic("150MiB", "10ms"), footprint="150MiB"
)


async def main() -> None:
    async with Runtime.from_config(CONFIG) as rota:
        rota.register(DETECTOR)
        rota.register(SPEECH)
        # Alone the detector has its best form. When speech needs its room it goes. It comes back in
        # the form that fits beside speech, which is in demand by now, and nobody goes any more.
        for model in ("detector", "speech", "detector", "speech", "detector"):
            form = FormUsed()
            await rota.infer(model, EXAMPLE, form=form)
            print(f"{model} answered{f' as {form.variant}' if form.variant else ''}")


anyio.run(main)
