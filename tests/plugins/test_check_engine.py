"""`check_engine` names the rule that a bad engine breaks, and lets good ones pass."""

import threading
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict

from scheduler.errors import BadInput
from scheduler.plugin.engine import EngineContext, EngineOptions, EnginePlugin
from scheduler.testing import EngineCheckFailed, check_engine


class Doubler(EnginePlugin):
    """A good engine: doubles arrays."""

    class Options(EngineOptions):
        factor: float = 2.0

    def __init__(self, options: Any, context: EngineContext) -> None:
        super().__init__(options, context)
        self.weights: Any = None

    def load(self) -> None:
        self.weights = np.full(3, self.options.factor)

    def infer(self, batch):
        return [self.answer(payload) for payload in batch]

    def answer(self, payload):
        if not isinstance(payload, np.ndarray):
            raise BadInput("give an array of three numbers")
        return {"doubled": payload * self.weights}

    def unload(self) -> None:
        self.weights = None

    def example(self):
        return np.arange(3.0)


def broken_rule(plugin: type[EnginePlugin], options: Any = None, **settings: Any) -> str:
    with pytest.raises(EngineCheckFailed) as caught:
        check_engine(plugin, options if options is not None else {}, **settings)
    assert plugin.__name__ in str(caught.value)
    return caught.value.rule


def test_a_good_engine_passes_without_remarks():
    assert check_engine(Doubler, {"factor": 3.0}) == ()
    assert check_engine(Doubler, Doubler.Options(factor=3.0)) == ()


def test_an_engine_that_answers_bad_payloads_one_by_one_passes():
    class OneByOne(Doubler):
        def answer(self, payload):
            if not isinstance(payload, np.ndarray):
                return BadInput("give an array of three numbers")
            return super().answer(payload)

    assert check_engine(OneByOne, {}) == ()


def test_a_refused_batch_is_remarked():
    class Single(Doubler):
        def infer(self, batch):
            if len(batch) > 1:
                raise BadInput("one at a time")
            return super().infer(batch)

    (remark,) = check_engine(Single, {})
    assert "one at a time" in remark
    assert "batch.max" in remark


def test_the_given_payload_is_used():
    class NoExample(Doubler):
        def example(self):
            raise NotImplementedError

    assert check_engine(NoExample, {}, payload=np.ones(3)) == ()
    assert broken_rule(NoExample) == "example"


def test_an_engine_that_takes_anything_passes_with_no_bad_payloads():
    class Anything(Doubler):
        def answer(self, payload):
            return {"seen": repr(payload)}

    assert check_engine(Anything, {}, bad_payloads=()) == ()
    assert broken_rule(Anything) == "bad_input"


def test_everything_runs_in_one_thread_that_is_not_the_callers():
    seen = set()

    class Watched(Doubler):
        def load(self):
            seen.add(threading.get_ident())
            super().load()

        def infer(self, batch):
            seen.add(threading.get_ident())
            return super().infer(batch)

        def unload(self):
            seen.add(threading.get_ident())
            super().unload()

    check_engine(Watched, {})
    assert len(seen) == 1
    assert threading.get_ident() not in seen


def test_a_table_that_nobody_can_write_to_may_be_shared():
    labels = np.array(["cat", "dog"])
    labels.flags.writeable = False

    class Labelled(Doubler):
        def answer(self, payload):
            return super().answer(payload) | {"labels": labels}

    assert check_engine(Labelled, {}) == ()


def test_results_of_a_batch_may_be_rows_of_one_array():
    class Rows(Doubler):
        def infer(self, batch):
            return list(np.stack([self.answer(payload)["doubled"] for payload in batch]))

    assert check_engine(Rows, {}) == ()


# --- One bad engine for each rule ----------------------------------------------------------------


class LooseOptions(EngineOptions):
    model_config = ConfigDict(extra="ignore")


class StrangeOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")


@pytest.mark.parametrize("options_class", [LooseOptions, StrangeOptions])
def test_options_must_derive_from_engine_options_and_refuse_unknown_keys(options_class):
    class Bad(Doubler):
        Options = options_class

    assert broken_rule(Bad) == "options"


def test_options_that_do_not_fit_are_told():
    assert broken_rule(Doubler, {"factor": "many"}) == "options"


def test_making_the_object_must_not_take_long(monkeypatch):
    from scheduler.testing import trial

    seconds = iter([0.0, 0.3, 1.0, 1.3])
    monkeypatch.setattr(trial.time, "perf_counter", lambda: next(seconds))
    assert broken_rule(Doubler) == "construction"


def test_making_the_object_must_not_import(tmp_path, monkeypatch):
    (tmp_path / "rota_heavy_library.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)

    class Bad(Doubler):
        def __init__(self, options, context):
            super().__init__(options, context)
            import rota_heavy_library  # noqa: F401

    assert broken_rule(Bad) == "construction"


def test_making_the_object_must_not_raise():
    class Bad(Doubler):
        def __init__(self, _options, _context):
            raise RuntimeError("no device")

    assert broken_rule(Bad) == "construction"


def test_unload_must_cope_without_a_load():
    class Bad(Doubler):
        def unload(self):
            self.weights.fill(0)

    assert broken_rule(Bad) == "unload_without_load"


@pytest.mark.parametrize("method", ["load", "warm_up", "measure", "example"])
def test_methods_must_not_raise(method):
    def fail(_self):
        raise RuntimeError("it does not work")

    assert broken_rule(type("Bad", (Doubler,), {method: fail})) == method


@pytest.mark.parametrize("measured", [None, {"unified": -1}, {"unified": 1.5}, {1: 1}, 4])
def test_measure_must_map_pools_to_bytes(measured):
    class Bad(Doubler):
        def measure(self):
            return measured

    assert broken_rule(Bad) == "measure"


@pytest.mark.parametrize(
    "answer", [[], [1, 2], None, {"doubled": 1}, "x", iter([1]), [RuntimeError("no")]]
)
def test_infer_must_give_one_result_for_each_payload(answer):
    class Bad(Doubler):
        def infer(self, batch):
            super().infer(batch)
            return answer

    assert broken_rule(Bad) == "infer"


def test_infer_must_not_raise_for_a_good_payload():
    class Bad(Doubler):
        def infer(self, _batch):
            raise BadInput("not today")

    assert broken_rule(Bad) == "infer"


class Reusing(Doubler):
    """Answers in a buffer of its own, which each call overwrites."""

    def load(self):
        super().load()
        self.buffer = np.zeros(3)

    def answer(self, payload):
        self.buffer[:] = super().answer(payload)["doubled"]
        return {"deep": [{"doubled": self.buffer[:2]}]}


def test_results_must_not_share_a_buffer_even_if_its_values_are_the_same():
    assert broken_rule(Reusing) == "results_stay"


def test_results_must_not_be_one_list_filled_again():
    class Bad(Doubler):
        def __init__(self, options, context):
            super().__init__(options, context)
            self.answers = []

        def answer(self, payload):
            self.answers[:] = super().answer(payload)["doubled"].tolist()
            return self.answers

    assert broken_rule(Bad) == "results_stay"


def test_results_must_not_change_afterwards():
    class Counter:
        value = 0

        def __eq__(self, other):
            return self.value == other.value

        __hash__ = None

    class Bad(Doubler):
        def load(self):
            super().load()
            self.counter = Counter()

        def answer(self, payload):
            super().answer(payload)
            self.counter.value += 1
            return self.counter

    assert broken_rule(Bad) == "results_stay"


def test_results_must_be_plain_data():
    class Bad(Doubler):
        def answer(self, payload):
            super().answer(payload)
            return threading.Lock()

    assert broken_rule(Bad) == "results_stay"


def test_a_batch_must_be_answered_or_refused():
    class Bad(Doubler):
        def infer(self, batch):
            (payload,) = batch
            return super().infer([payload])

    assert broken_rule(Bad) == "batch"


def test_a_batch_must_have_as_many_results():
    class Bad(Doubler):
        def infer(self, batch):
            return super().infer(batch)[:1]

    assert broken_rule(Bad) == "batch"


def test_results_of_a_batch_must_be_their_own():
    class Bad(Doubler):
        def infer(self, batch):
            first = super().infer(batch)[0]
            return [first for _ in batch]

    assert broken_rule(Bad) == "batch"


def test_a_bad_payload_must_not_be_a_type_error():
    class Bad(Doubler):
        def answer(self, payload):
            return {"doubled": payload * self.weights}

    assert broken_rule(Bad) == "bad_input"


def test_a_refusal_must_have_words():
    class Bad(Doubler):
        def answer(self, payload):
            if not isinstance(payload, np.ndarray):
                raise BadInput
            return super().answer(payload)

    assert broken_rule(Bad) == "bad_input"


def test_the_engine_must_be_well_after_a_bad_payload():
    class Bad(Doubler):
        def answer(self, payload):
            if not isinstance(payload, np.ndarray):
                self.weights = None
            return super().answer(payload)

    with pytest.raises(EngineCheckFailed, match="after the bad payload None") as caught:
        check_engine(Bad, {})
    assert caught.value.rule == "bad_input"


def test_a_cancel_with_nothing_running_must_not_raise():
    class Bad(Doubler):
        def cancel(self):
            raise RuntimeError("nothing to cancel")

    assert broken_rule(Bad) == "cancel"


def test_a_cancel_with_nothing_running_must_not_stop_the_next_run():
    class Bad(Doubler):
        cancelled = False

        def cancel(self):
            self.cancelled = True

        def infer(self, batch):
            if self.cancelled:
                raise RuntimeError("cancelled")
            return super().infer(batch)

    assert broken_rule(Bad) == "cancel"


def test_unload_must_not_raise():
    class Bad(Doubler):
        def unload(self):
            if self.weights is not None:
                self.weights = None
                raise RuntimeError("stuck")

    assert broken_rule(Bad) == "unload"


def test_unload_must_cope_with_a_second_call():
    class Bad(Doubler):
        unloaded = False

        def unload(self):
            if self.unloaded:
                raise RuntimeError("double free")
            self.unloaded = self.weights is not None
            self.weights = None

    assert broken_rule(Bad) == "unload_twice"


def test_a_loaded_engine_must_not_be_held_by_others():
    held = []

    class Bad(Doubler):
        def load(self):
            super().load()
            held.append(self)

    assert broken_rule(Bad) == "let_go"


def test_a_second_object_must_load_after_the_first_was_unloaded():
    class Bad(Doubler):
        used = False

        def load(self):
            if Bad.used:
                raise RuntimeError("the library is shut down")
            Bad.used = True
            super().load()

    assert broken_rule(Bad) == "load"


def test_no_thread_may_be_left_behind(monkeypatch):
    from scheduler.testing import conformance

    monkeypatch.setattr(conformance, "THREAD_GRACE_S", 0.05)
    stop = threading.Event()

    class Bad(Doubler):
        def load(self):
            super().load()
            threading.Thread(target=stop.wait, args=(30,), name="reader", daemon=True).start()

    try:
        with pytest.raises(EngineCheckFailed, match="reader") as caught:
            check_engine(Bad, {})
    finally:
        stop.set()
    assert caught.value.rule == "threads"


def test_an_engine_that_fails_is_unloaded_all_the_same():
    unloads = []

    class Bad(Doubler):
        def unload(self):
            unloads.append(self.weights is not None)
            super().unload()

        def infer(self, _batch):
            raise RuntimeError("no")

    assert broken_rule(Bad) == "infer"
    assert unloads == [False, True]
