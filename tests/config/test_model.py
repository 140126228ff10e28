from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from scheduler.config import Footprint, Model
from scheduler.config.model import Rules
from scheduler.core.model import ModelSpec, PoolFootprint, QueueKeep

MIB = 1024**2
SECOND_NS = 1_000_000_000


def test_what_is_not_said_is_what_the_core_takes():
    spec = Model(name="faces", footprint=64).to_spec()
    assert spec == ModelSpec(name="faces", footprint={"unified": PoolFootprint(resident_bytes=64)})


def test_every_key_reaches_the_core():
    model = Model(
        name="faces",
        device="cuda:0",
        footprint=Footprint(resident="40MiB", load_peak="70MiB", workspace=90, per_item="1KiB"),
        priority="high",
        deadline=0.1,
        keep_alive="forever",
        pinned=True,
        exclusive=["heavy"],
        uses={"gpu": 1},
        queue={"limit": 8, "keep": "latest"},
        batch={"max": 16, "wait": "5ms"},
        max_wait="3s",
        min_residency=1,
        load_timeout="30s",
        run_timeout="1s",
        backoff="2s",
    )
    assert model.to_spec("host") == ModelSpec(
        name="faces",
        footprint={
            "cuda:0": PoolFootprint(
                resident_bytes=40 * MIB,
                load_peak_bytes=70 * MIB,
                workspace_bytes=90,
                per_item_bytes=1024,
            )
        },
        priority=75,
        deadline_ns=SECOND_NS // 10,
        keep_alive_ns=None,
        pinned=True,
        exclusive=frozenset({"heavy"}),
        uses={"gpu": 1},
        queue_limit=8,
        queue_keep=QueueKeep.LATEST,
        batch_max=16,
        batch_wait_ns=5_000_000,
        max_wait_ns=3 * SECOND_NS,
        min_residency_ns=SECOND_NS,
        load_timeout_ns=30 * SECOND_NS,
        run_timeout_ns=SECOND_NS,
        backoff_ns=2 * SECOND_NS,
    )


def test_a_footprint_can_name_its_pools():
    model = Model(name="a", footprint={"host": "1KiB", "cuda:0": Footprint(resident=5)})
    assert model.pool_footprints() == {
        "host": PoolFootprint(resident_bytes=1024),
        "cuda:0": PoolFootprint(resident_bytes=5),
    }


def test_a_footprint_without_pool_is_in_the_first():
    assert set(Model(name="a", footprint=5).pool_footprints("host")) == {"host"}
    assert set(Model(name="a", footprint=5, device="cuda:0").pool_footprints("host")) == {"cuda:0"}


@pytest.mark.parametrize(
    ("word", "priority"),
    [("background", 10), ("low", 25), ("normal", 50), ("high", 75), ("critical", 100), (0, 0)],
)
def test_priorities_have_names(word, priority):
    assert Model(name="a", footprint=1, priority=word).priority == priority


@pytest.mark.parametrize(
    "wrong",
    [
        {"priority": True},
        {"priority": 2.5},
        {"priority": 10**30},
        {"priority": -1},
        {"priority": math.nan},
        {"deadline": 0},
        {"deadline": -5},
        {"deadline": math.inf},
        {"deadline": "100"},
        {"keep_alive": -1},
        {"keep_alive": "-1"},
        {"keep_alive": True},
        {"pinned": 1},
        {"footprint": 0},
        {"footprint": 1.5},
        {"footprint": {"resident": 5, "load_peak": 4}},
        {"footprint": {}},
        {"uses": {"gpu": 0}},
        {"uses": {"gpu": True}},
        {"exclusive": "heavy"},
        {"exclusive": ["a/b"]},
        {"queue": {"limit": 0}},
        {"batch": {"max": 10**30}},
        {"engine": ""},
        {"options": 5},
        {"prioritty": 5},
        {"name": "a/b"},
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused(wrong):
    with pytest.raises(ValidationError):
        Model(**{"name": "a", "footprint": 1} | wrong)


def test_none_and_its_words_mean_the_same():
    none = Model(name="a", footprint=1, deadline=None, keep_alive=None)
    words = Model(name="a", footprint=1, deadline="none", keep_alive="forever")
    assert none == words
    assert none.keep_alive is None


def test_a_model_dumped_and_read_again_is_the_same():
    model = Model(name="a", footprint="1MiB", deadline="100ms", batch={"wait": "5ms"})
    assert Model(**model.model_dump(exclude_unset=True)) == model
    assert Model(**model.model_dump()).to_spec() == model.to_spec()


def test_defaults_fill_only_what_a_model_leaves_out():
    defaults = Rules(
        priority=20, deadline="2s", queue={"limit": 3, "keep": "latest"}, uses={"a": 1}
    )
    model = Model(name="a", footprint=1, priority=50, queue={"limit": 32}, batch={"max": 4})
    merged = model.with_defaults(defaults)
    assert merged.priority == 50
    assert merged.deadline == 2 * SECOND_NS
    assert merged.queue.limit == 32
    assert merged.queue.keep is QueueKeep.LATEST
    assert merged.batch.max == 4
    assert merged.uses == {"a": 1}


def test_none_in_a_model_wins_over_a_default():
    model = Model(name="a", footprint=1, deadline="none")
    assert model.with_defaults(Rules(deadline="2s")).deadline is None
