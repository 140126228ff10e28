"""Many models, few of which fit, and somebody waiting for most: what is remembered of who waits.

The twin of each world (see `conftest`) remembers nothing, and has to decide the same.
"""

from __future__ import annotations

from random import Random

import pytest

from scheduler.core.events import BudgetChanged

MS = 1_000_000
MODELS = 9
STEPS = 220


def answer(world, rng):
    """Let one of what is under way end, if anything is."""
    ends = [lambda m=m: world.loaded(m) for m in world.loading]
    ends += [lambda m=m: world.unloaded(m) for m in world.unloading]
    ends += [lambda i=i: world.ended(i) for i, lease in world.leases.items() if not lease.after]
    if ends:
        rng.choice(ends)()


def act(world, rng, names):
    """What a person, a program or bad luck does now and then."""
    model = rng.choice(names)
    there = [m for m in world.instances if m not in world.loading and m not in world.unloading]
    match rng.choice(["hold", "load", "unload", "lost", "lost", "cancel", "switch", "budget"]):
        case "hold":
            models = rng.sample(names, rng.choice([1, 2]))
            world.hold(*models, priority=rng.choice([30, 50, 70]), ttl=50)
        case "load":
            world.load(model)
        case "unload":
            world.unload(model)
        case "lost" if there:
            world.lost(rng.choice(there))
        case "switch":
            world.switch(rng.choice(["docking", "talking"]), priority={model: 60})
        case "budget":
            world.tell(BudgetChanged("unified", rng.choice([250, 350, 500])))
        case _:
            world.cancel(rng.randint(1, world.requests))


@pytest.mark.parametrize("seed", range(8))
def test_a_crowd_is_served_as_if_each_were_looked_at_anew(make_world, seed):
    rng = Random(seed)  # noqa: S311 - a story, no secret
    world = make_world(rng.choice([350, 500]), ageing_ns=rng.choice([None, 800 * MS]))
    names = [f"m{number}" for number in range(MODELS)]
    for name in names:
        rules = {"workspace": rng.choice([0, 20]), "max_wait_ns": rng.choice([0, 300, 2000]) * MS}
        world.model(name, 100, queue_limit=4, **rules)
    world.ask("m0")
    for _ in range(STEPS):
        world.at(world.now / MS + rng.choice([0, 0, 1, 5, 40]))
        if rng.random() < 0.45:
            answer(world, rng)
        elif rng.random() < 0.8:
            world.ask(rng.choice(names), priority=rng.choice([None, None, 40, 60]))
        else:
            act(world, rng, names)
    world.quiesce()
    assert len(world.outcomes) == world.requests
