"""Modes are switched while running, whole or not at all."""

from contextlib import suppress

import anyio
import pytest

from scheduler import ConfigError, LeaseRevoked, ModelDisabled, ModeRefused, Runtime, ShuttingDown
from scheduler.config import load_config
from scheduler.core.decisions import AnnounceMode
from scheduler.core.events import ModeChanged
from scheduler.core.mode import Mode
from scheduler.core.request import Request
from scheduler.core.settings import PoolBudget, Settings
from scheduler.sim.simulator import Simulator
from scheduler.sim.times import FixedTimes
from tests.runtime.conftest import Ends

MIB = 1024**2

BOTH = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
pytestmark = [pytest.mark.anyio, BOTH]
DOCKING = Mode(name="docking", pin=("slam",), priority={"faces": 20}, disable=("speech",))


@pytest.fixture
def robot(bench):
    """Three models, two of which fit, and a mode for docking."""
    made = bench(modes=[DOCKING, Mode(name="all", pin=("slam", "faces", "speech"))])
    for name, mib in (("slam", 500), ("faces", 400), ("speech", 450)):
        made.add(name, mib)
    return made


async def test_a_switch_returns_when_the_mode_is_reached_and_says_what_it_took(robot):
    async with robot.runtime as runtime:
        await runtime.load("speech")
        robot.clock.advance(7)
        done = await runtime.switch("docking")
        assert (done.mode, done.unloads, done.loads) == ("docking", ("speech",), ("slam",))
        assert done.took_ns == 0
        assert done.missing == ()
        assert done.unknown == ("the unload of speech", "the load of slam")
        assert (robot.state("slam"), robot.state("speech")) == ("ready", "unloaded")
        assert runtime.snapshot().mode == "docking"
        assert runtime.modes() == ("docking", "all")
        with pytest.raises(ModelDisabled, match="speech is disabled in mode docking"):
            await runtime.infer("speech", "hello")
        assert (await runtime.switch(None)).mode is None
        await robot.all_well("speech")


async def test_who_waits_or_holds_a_disabled_model_learns_it_at_once(robot):
    async with robot.runtime as runtime:
        caught = []

        async def hold():
            async with runtime.lease("speech") as lease:
                await robot.until(lambda: runtime.snapshot().mode == "docking")
                with pytest.raises(LeaseRevoked) as error:
                    await lease.infer("hello")
            caught.append(error.value.reason.code.value)

        async def wait():
            with pytest.raises(ModelDisabled) as error:
                await runtime.infer("speech", "hello")
            caught.append(error.value.reason.code.value)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold)
            await robot.until(lambda: runtime.snapshot().leases)
            tasks.start_soon(wait)
            await robot.until(lambda: runtime.snapshot().waiting)
            await runtime.switch("docking")
        assert caught == ["model_disabled"] * 2
        await robot.all_well("slam")


async def test_a_mode_that_cannot_be_is_refused_with_the_reason_and_changes_nothing(robot):
    async with robot.runtime as runtime:
        await runtime.switch("docking")
        with pytest.raises(ModeRefused, match="there is no mode 'dokcing'; did you mean") as error:
            await runtime.switch("dokcing")
        assert error.value.reason.code.value == "unknown_mode"
        with pytest.raises(ModeRefused, match=r"mode all: .* never fits") as error:
            await runtime.switch("all")
        assert error.value.reason.code.value == "never_fits"
        assert runtime.snapshot().mode == "docking"
        await robot.all_well("slam")


async def test_a_pin_that_fails_to_load_does_not_keep_the_caller_waiting(robot):
    robot.scripts["slam"].raises["load"] = RuntimeError("no file")
    async with robot.runtime as runtime:
        done = await runtime.switch("docking")
        assert done.missing == ("slam",)


async def test_another_switch_ends_the_wait_for_the_one_before_it(robot):
    slam = robot.scripts["slam"]
    slam.block("load")
    async with robot.runtime as runtime:
        results = []

        async def dock():
            results.append(await runtime.switch("docking"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(dock)
            await robot.until(lambda: runtime.snapshot().switching)
            assert (await runtime.switch(None)).took_ns == 0
        assert results[0].took_ns is None
        slam.release("load")
        await robot.all_well("speech")


async def test_a_caller_that_gives_up_leaves_the_mode_as_it_is(robot):
    slam = robot.scripts["slam"]
    slam.block("load")
    async with robot.runtime as runtime:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runtime.switch, "docking")
            await robot.until(lambda: runtime.snapshot().switching)
            tasks.cancel_scope.cancel()
        assert runtime.snapshot().mode == "docking"
        slam.release("load")
        await robot.until(lambda: not runtime.snapshot().switching)
        await robot.all_well("slam")


async def test_leaving_ends_the_wait(robot):
    slam = robot.scripts["slam"]
    slam.block("load")
    results = []

    async def dock(runtime):
        results.append(await runtime.switch("docking"))

    async with anyio.create_task_group() as tasks:
        async with robot.runtime as runtime:
            tasks.start_soon(dock, runtime)
            await robot.until(lambda: runtime.snapshot().switching)
            slam.release("load")
        with anyio.fail_after(10):
            await anyio.wait_all_tasks_blocked()
    assert results[0].took_ns is None
    with pytest.raises(ShuttingDown):
        await runtime.switch(None)


async def test_a_switch_while_draining_is_refused(robot):
    async with robot.runtime as runtime:
        await runtime.drain(1)
        with pytest.raises(ModeRefused, match="shutting down"):
            await runtime.switch("docking")


# -- from a configuration -------------------------------------------------------------------------

ENGINE = "{engine: synthetic, options: {load: 0s, infer: 1ms, memory: 1MiB}, footprint: %s}"


@pytest.fixture
def configured(tmp_path):
    def read(modes, mode="none", slam="60MiB"):
        path = tmp_path / "robot.yaml"
        models = f"  slam: {ENGINE % slam}\n  faces: {ENGINE % '50MiB'}\n"
        path.write_text(
            f"memory: {{budget: 100MiB}}\nscheduling: {{queue_bytes: none}}\nmode: {mode}\n"
            f"modes: {modes}\nmodels:\n{models}"
        )
        return load_config(path)

    return read


async def test_the_first_mode_holds_from_the_start(configured):
    config = configured("{docking: {pin: [slam], disable: [faces]}}", mode="docking")
    async with Runtime.from_config(config) as runtime:
        snapshot = runtime.snapshot()
        assert snapshot.mode == "docking"
        assert [e.state.value != "unloaded" for e in snapshot.engines] == [True, False]
        with pytest.raises(ModelDisabled):
            await runtime.infer("faces", 1)


async def test_a_reload_keeps_the_mode_as_it_is_now(configured):
    async with Runtime.from_config(configured("{docking: {pin: [slam]}}")) as runtime:
        await runtime.switch("docking")
        change = await runtime.reconfigure(configured("{docking: {disable: [slam]}}"))
        assert str(change) == "nothing changes"
        snapshot = runtime.snapshot()
        assert (snapshot.mode, snapshot.engines[0].disabled) == ("docking", True)
        await runtime.reconfigure(configured("{docking: {disable: [slam]}}", slam="61MiB"))
        assert {e.model: e.disabled for e in runtime.snapshot().engines}["slam"]


async def test_a_reload_without_the_mode_leaves_it(configured):
    async with Runtime.from_config(configured("{docking: {disable: [slam]}}")) as runtime:
        await runtime.switch("docking")
        await runtime.reconfigure(configured("{}", mode="none"))
        assert runtime.snapshot().mode is None
        await runtime.infer("slam", 1)


async def test_a_reload_whose_mode_could_never_be_changes_nothing(configured):
    async with Runtime.from_config(configured("{docking: {pin: [slam]}}")) as runtime:
        await runtime.switch("docking")
        with pytest.raises(ConfigError, match=r"mode docking: .* need 110\.0 MiB together"):
            await runtime.reconfigure(configured("{docking: {pin: [slam, faces]}}", slam="60MiB"))
        assert runtime.modes() == ("docking",)
        assert not {e.model: e.pinned for e in runtime.snapshot().engines}["faces"]


# -- the same as in virtual time ------------------------------------------------------------------


async def test_runtime_and_simulator_decide_the_same(robot):
    """Engines take no time in either, so that both tell the core the same things in one order."""
    async with robot.runtime as runtime:
        for verb, name in STEPS:
            if verb == "switch":
                await runtime.switch(name)
            else:
                with suppress(ModelDisabled):
                    await runtime.infer(name, "x")
            await robot.pass_time(1)
        decided = [d for record in robot.ends.records for d in record.decisions]
    settings = Settings(pools={"unified": PoolBudget(budget_bytes=1000 * MIB)})
    kept = Ends()
    times = {name: FixedTimes(0, 0, 0, 0) for name in ("slam", "faces", "speech")}
    simulator = Simulator(settings, times, [kept])
    for registered in runtime.models().values():
        simulator.register(registered.to_spec())
    for second, (verb, name) in enumerate(STEPS):
        mode = DOCKING if name == "docking" else None
        if verb == "switch":
            simulator.at(second * 10**9, simulator.tell, ModeChanged(mode))
        else:
            simulator.at(second * 10**9, Asking(simulator, name).ask)
    simulator.run(len(STEPS) * 10**9)
    simulated = [d for record in kept.records for d in record.decisions]
    assert decided[: len(simulated)] == simulated
    assert sum(isinstance(d, AnnounceMode) for d in simulated) == 3


STEPS = (
    ("infer", "speech"),
    ("infer", "faces"),
    ("switch", "docking"),
    ("infer", "speech"),
    ("infer", "faces"),
    ("switch", None),
    ("infer", "speech"),
    ("switch", "docking"),
    ("infer", "slam"),
)


class Asking:
    """One request in virtual time."""

    def __init__(self, simulator, model):
        self.simulator, self.model = simulator, model

    def ask(self, _):
        self.simulator.ask(Request(id=self.simulator.next_request_id(), models=(self.model,)), self)

    def finished(self, outcome):
        """See Client."""
