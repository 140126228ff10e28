"""Another configuration is taken over while running, whole or not at all."""

import anyio
import pytest

from scheduler import EXAMPLE, ConfigError, PluginError, Runtime, UnknownModel
from scheduler.config import load_config

MIB = 1024**2
BOTH = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
pytestmark = [pytest.mark.anyio, BOTH]


@pytest.fixture
def config(tmp_path):
    def write(models, budget="200MiB", more=""):
        path = tmp_path / "robot.yaml"
        lines = "".join(f"  {name}: {{{body}}}\n" for name, body in models.items())
        path.write_text(f"memory: {{budget: {budget}}}\n{more}models:\n{lines}")
        return load_config(path)

    return write


def engine(memory="20MiB", more=""):
    options = f"{{load: 0s, infer: 1ms, memory: {memory}}}"
    return f"engine: synthetic, options: {options}, footprint: 40MiB{more}"


def loaded(runtime):
    return {e.model: e.instance for e in runtime.snapshot().engines if e.state == "ready"}


async def test_what_is_new_gone_or_changed_is_and_the_rest_is_not_disturbed(config):
    old = config({"same": engine(), "gone": engine(), "changed": engine()})
    async with Runtime.from_config(old) as runtime:
        for name in ("same", "gone", "changed"):
            await runtime.infer(name, EXAMPLE)
        new = {"same": engine(), "changed": engine("30MiB"), "new": engine()}
        change = await runtime.reconfigure(config(new, budget="150MiB"))
        assert str(change).startswith("change changed, remove gone, add new, budget of unified")
        assert loaded(runtime) == {"same": 1}
        assert runtime.snapshot().pools[0].budget_bytes == 150 * MIB
        for name in new:
            await runtime.infer(name, EXAMPLE)
        with pytest.raises(UnknownModel):
            await runtime.infer("gone", EXAMPLE)
        assert loaded(runtime)["same"] == 1


async def test_the_same_again_changes_nothing(config):
    models = {"a": engine(), "b": engine()}
    async with Runtime.from_config(config(models)) as runtime:
        await runtime.infer("a", EXAMPLE)
        assert str(await runtime.reconfigure(config(models))) == "nothing changes"
        assert loaded(runtime) == {"a": 1}


async def test_a_pin_alone_does_not_reload_the_engine(config):
    async with Runtime.from_config(config({"a": engine()})) as runtime:
        await runtime.infer("a", EXAMPLE)
        change = await runtime.reconfigure(config({"a": engine(more=", pinned: true")}))
        assert str(change) == "pin a"
        assert loaded(runtime) == {"a": 1}
        assert runtime.snapshot().engines[0].pinned


async def test_a_budget_below_what_is_loaded_unloads_what_is_idle(config):
    models = {"a": engine(), "b": engine()}
    async with Runtime.from_config(config(models)) as runtime:
        await runtime.infer("a", EXAMPLE)
        await runtime.infer("b", EXAMPLE)
        await runtime.reconfigure(config(models, budget="50MiB"))
        with anyio.fail_after(10):
            while len(loaded(runtime)) > 1:  # noqa: ASYNC110 - an engine thread ends it
                await anyio.sleep(0.01)
        await runtime.infer("a", EXAMPLE)
        await runtime.infer("b", EXAMPLE)
        assert runtime.snapshot().pools[0].reserved_bytes <= 50 * MIB


async def test_what_only_a_restart_can_change_changes_nothing(config):
    async with Runtime.from_config(config({"a": engine()})) as runtime:
        wider = config({"b": engine()}, more="resources: {gpu: 1}\n")
        with pytest.raises(ConfigError, match="restart it"):
            await runtime.reconfigure(wider)
        await runtime.infer("a", EXAMPLE)
        assert set(runtime.models()) == {"a"}


async def test_an_engine_that_is_not_there_changes_nothing(config):
    async with Runtime.from_config(config({"a": engine()})) as runtime:
        new = config({"b": engine()})
        new.models["b"] = new.models["b"].model_copy(update={"engine": "nowhere"})
        with pytest.raises(PluginError, match="nowhere"):
            await runtime.reconfigure(new)
        await runtime.infer("a", EXAMPLE)
        assert set(runtime.models()) == {"a"}


async def test_running_work_ends_on_the_old_definition(config):
    slow = "engine: synthetic, options: {load: 0s, infer: %s, memory: 20MiB}, footprint: 40MiB"
    async with Runtime.from_config(config({"a": slow % "300ms"})) as runtime:
        await runtime.load("a")
        answers = []

        async def ask():
            answers.append(await runtime.infer("a", "old"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            with anyio.fail_after(10):
                while not runtime.snapshot().leases:  # noqa: ASYNC110 - as above
                    await anyio.sleep(0.005)
            await runtime.reconfigure(config({"a": slow % "1ms"}))
            assert answers == ["old"]
        assert await runtime.infer("a", "new") == "new"
