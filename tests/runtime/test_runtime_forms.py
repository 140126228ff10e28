"""Models in several forms: the chosen form is made, in the chosen place, and named."""

from __future__ import annotations

import pytest

from scheduler import EngineOptions, EnginePlugin, FormUsed, Model, PluginError
from scheduler.core.decisions import LoadEngine
from scheduler.core.settings import PoolBudget, Settings
from scheduler.runtime.runtime import Runtime
from scheduler.sim.simulator import Simulator
from scheduler.sim.times import FixedTimes
from scheduler.trace.record import Record

GPUS = {"cuda:0": PoolBudget(budget_bytes=1000), "cuda:1": PoolBudget(budget_bytes=1000)}


class Told(EnginePlugin):
    """Answers with what it was made of."""

    class Options(EngineOptions):
        weights: str = "large"
        threads: int = 1

    def load(self) -> None:
        pass

    def infer(self, batch):
        context, options = self.context, self.options
        return [(options.weights, options.threads, context.device, context.most_bytes)] * len(batch)

    def unload(self) -> None:
        pass


class Kept:
    def __init__(self) -> None:
        self.records: list[Record] = []

    def observe(self, record: Record) -> None:
        self.records.append(record)

    def loads(self) -> list[LoadEngine]:
        return [d for r in self.records for d in r.decisions if isinstance(d, LoadEngine)]


def detector(**rules) -> Model:
    return Model(
        name="a",
        footprint={"resident": 600, "workspace": 50},
        options={"threads": 2},
        variants=[{"name": "int8", "footprint": 300, "options": {"weights": "small"}}],
        **rules,
    )


async def test_the_engine_of_the_form_that_fits_is_made_and_named():
    async with Runtime(Settings(pools={"unified": PoolBudget(budget_bytes=1000)})) as runtime:
        runtime.register(detector(), Told)
        form = FormUsed()
        assert await runtime.infer("a", 1, form=form) == ("large", 2, "unified", 650)
        assert form == FormUsed("default")
        runtime.register(Model(name="b", footprint=500), Told)
        await runtime.infer("b", 1, form=form)
        assert form == FormUsed()
        async with runtime.lease("a") as lease:
            assert await lease.infer(1, form=form) == ("small", 2, "unified", 300)
        assert form == FormUsed("int8")
        assert [e.variant for e in runtime.snapshot().engines] == ["int8", ""]


async def test_an_engine_is_told_on_which_of_several_devices_it_is():
    async with Runtime(Settings(pools=GPUS)) as runtime:
        for name in "ab":
            runtime.register(Model(name=name, footprint=600, device="cuda"), Told)
        form = FormUsed()
        assert await runtime.infer("a", 1) == ("large", 1, "cuda:0", 600)
        assert await runtime.infer("b", 1, form=form) == ("large", 1, "cuda:1", 600)
        assert form == FormUsed("", "cuda:1")


async def test_an_engine_is_told_the_largest_batch_of_its_form():
    class Asked(Told):
        def infer(self, batch):
            return [self.context.batch_max] * len(batch)

    model = Model(
        name="a",
        footprint=600,
        batch={"max": 2},
        uses={"cuda": 1},
        device="cuda",
        variants=[{"name": "int8", "footprint": 300, "batch": {"max": 16}}],
    )
    for budget, most in ((1000, 2), (500, 16)):
        pools = {"cuda:0": PoolBudget(budget_bytes=budget), "cuda:1": PoolBudget(budget_bytes=50)}
        async with Runtime(Settings(pools=pools, resources={"cuda:0": 1})) as runtime:
            runtime.register(model, Asked)
            assert await runtime.infer("a", 1) == most


def sized(**variant) -> Model:
    small = {"name": "small", "footprint": 300, **variant}
    return Model(name="a", footprint=600, variants=[small])


async def test_a_variant_may_be_of_another_engine():
    options = {"load": 0, "infer": 0, "memory": 0}
    async with Runtime(Settings(pools={"unified": PoolBudget(budget_bytes=500)})) as runtime:
        runtime.register(sized(engine="synthetic", options=options), Told)
        form = FormUsed()
        assert await runtime.infer("a", "echoed", form=form) == "echoed"
        assert form == FormUsed("small")


@pytest.mark.parametrize(
    ("variant", "told"),
    [
        ({"engine": "no_such_module:X"}, "cannot be used: ModuleNotFoundError"),
        ({"options": {"size": 3}}, r"refuses its options: options\.size"),
    ],
)
def test_a_variant_that_cannot_be_made_is_refused_with_its_model(variant, told):
    runtime = Runtime(Settings(pools={"unified": PoolBudget(budget_bytes=500)}))
    with pytest.raises(PluginError, match=told):
        runtime.register(sized(**variant), Told)
    assert runtime.models() == {}


async def test_runtime_and_simulator_choose_the_same_forms():
    """The same requests in the same order, through the real engines and on paper."""
    settings = Settings(pools={"unified": PoolBudget(budget_bytes=700)})
    models = [
        detector(),
        Model(name="b", footprint=650, variants=[{"name": "int8", "footprint": 350}]),
    ]
    story = ["a", "b", "a", "b", "a"]
    real, paper = Kept(), Kept()
    async with Runtime(settings, observers=[real]) as runtime:
        for model in models:
            runtime.register(model, Told)
        for name in story:
            await runtime.infer(name, 1)
    times = {f"{m.name}/{v.name}": FixedTimes() for m in models for v in m.every_variant()}
    simulator = Simulator(settings, times, [paper])
    for model in models:
        simulator.register(model.to_spec())
    asked = [r.event for r in real.records if type(r.event).__name__ == "RequestArrived"]

    class Caller:
        def finished(self, _) -> None:
            if asked:
                simulator.at(simulator.now_ns, lambda _: simulator.ask(asked.pop(0).request, self))

    simulator.ask(asked.pop(0).request, Caller())
    simulator.run(60_000_000_000)
    assert paper.loads() == real.loads()
    assert [(d.model, d.variant) for d in real.loads()] == [
        ("a", "default"),
        ("b", "int8"),
        ("a", "int8"),
    ]


def test_a_form_in_a_pool_that_is_not_there_is_refused():
    runtime = Runtime(Settings(pools={"unified": PoolBudget(budget_bytes=1000)}))
    with pytest.raises(ValueError, match="there is no pool 'cuda:0'; there is unified"):
        runtime.register(sized(device="cuda:0"), Told)
