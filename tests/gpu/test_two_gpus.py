"""On a machine of several GPUs the core places each engine, and both cards are used."""

import dataclasses

import anyio
import pytest
from dense_engine import resident_bytes
from member import TOLERANCE, dense, images
from nvml_watch import Watch
from place import GIB, MIB
from serving import Steps, rota

from scheduler import Footprint

POOLS = {"cuda:0": int(2.5 * GIB), "cuda:1": int(2.5 * GIB)}


@pytest.fixture
def eyes(card):
    """NVML's eyes on the first two cards."""
    if len(card) < len(POOLS):
        pytest.skip("this machine has one GPU")
    made = [Watch(number) for number in range(len(POOLS))]
    yield made
    for eye in made:
        eye.close()


def models(folder):
    """Four models of 1 GiB through pycuda and one through onnxruntime: no card holds them all."""
    one = Footprint(resident=resident_bytes(4))
    made = [dense(folder, f"d{seed}", 4, seed) for seed in range(4)]
    hungry = Footprint(resident=300 * MIB, load_peak=900 * MIB, workspace=600 * MIB)
    return [
        *(dataclasses.replace(member, footprint=one, batch_max=1) for member in made),
        dataclasses.replace(images(folder, "i", 1), footprint=hungry, batch_max=1),
    ]


def test_placement_uses_both_cards(eyes, folder, figures):
    members, steps, errors = models(folder), Steps(), {}
    before = [eye.look().now_bytes for eye in eyes]

    async def main():
        rules = {member.name: {"device": "cuda"} for member in members}
        async with rota(members, POOLS, steps, rules) as it:
            for _ in range(5):
                for member in members:
                    for which, payload in enumerate(member.inputs):
                        answer = await it.infer(member.name, payload)
                        errors.setdefault(member.name, []).append(member.error(which, answer))
            return [eye.look() for eye in eyes]

    seen = anyio.run(main)
    held = [now.now_bytes - then for now, then in zip(seen, before, strict=True)]
    figures(
        "two GPUs",
        places={name: sorted(places) for name, places in steps.places.items()},
        held_mib=[size // MIB for size in held],
        loads=dict(steps.loads),
        booked_mib={pool: size // MIB for pool, size in steps.most_booked_bytes.items()},
        worst_error=max(max(part) for part in errors.values()),
    )
    used = set().union(*steps.places.values())
    assert used == set(POOLS)
    assert all(size > GIB for size in held)
    assert max(max(part) for part in errors.values()) < TOLERANCE


@pytest.mark.parametrize("pool", list(POOLS))
def test_an_engine_runs_on_the_card_of_its_pool(eyes, folder, figures, pool):
    steps, errors = Steps(), []
    for member in (models(folder)[3], models(folder)[4]):
        for eye in eyes:
            eye.look()

        async def main(member=member):
            async with rota([member], POOLS, steps, {member.name: {"device": pool}}) as it:
                await it.load(member.name)
                empty = [eye.look().now_bytes for eye in eyes]
                answer = await it.infer(member.name, member.inputs[0])
                errors.append(member.error(0, answer))
                await it.unload(member.name)
                return empty, [eye.look().now_bytes for eye in eyes]

        loaded, unloaded = anyio.run(main)
        freed = [full - left for full, left in zip(loaded, unloaded, strict=True)]
        figures(f"{member.name} on {pool}", freed_mib=[size // MIB for size in freed])
        number = list(POOLS).index(pool)
        assert freed[number] > 50 * MIB
        assert abs(freed[1 - number]) < 16 * MIB
    assert max(errors) < TOLERANCE
