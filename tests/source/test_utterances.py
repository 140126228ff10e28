import anyio
import numpy as np
import pytest
from anyio import wait_all_tasks_blocked

from scheduler.core.outcome import Outcome
from scheduler.source.answer import Answer
from scheduler.source.resample import BLOCK_SAMPLES, RATE_HZ
from scheduler.source.source import Frame
from scheduler.source.utterances import Utterance, UtteranceSource


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


def block(number):
    return np.full(BLOCK_SAMPLES, number, np.float32)


def cut(probabilities):
    """(first block, last block) of each utterance of numbered blocks."""
    utterance = Utterance()
    heard = [utterance.hear(block(n), p) for n, p in enumerate(probabilities)]
    heard.append(utterance.finish())
    return [(int(u[0]), int(u[-1])) for u in heard if u is not None]


def test_speech_has_its_lead_and_its_tail():
    ((first, last),) = cut([0.1] * 50 + [0.9] * 20 + [0.1] * 50)
    assert (50 - first) * BLOCK_SAMPLES / RATE_HZ == pytest.approx(0.3, abs=0.033)
    assert (last - 69) * BLOCK_SAMPLES / RATE_HZ == pytest.approx(0.6, abs=0.033)


def test_silence_and_murmur_give_nothing():
    assert cut([0.1] * 100 + [0.49] * 100) == []


def test_a_pause_does_not_cut():
    assert len(cut([0.9] * 10 + [0.1] * 15 + [0.9] * 10 + [0.1] * 30)) == 1
    assert len(cut([0.9] * 10 + [0.1] * 25 + [0.9] * 10 + [0.1] * 30)) == 2


def test_once_open_it_stays_open_between_the_thresholds():
    assert len(cut([0.9] + [0.4] * 60 + [0.9] + [0.1] * 30)) == 1


def test_long_speech_is_cut_at_15_s_and_goes_on_without_a_hole():
    (first, second) = cut([0.9] * 600)
    assert (first[1] - first[0] + 1) * BLOCK_SAMPLES / RATE_HZ == pytest.approx(15, abs=0.033)
    assert second == (first[1] + 1, 599)


def test_what_the_detector_did_not_answer_changes_nothing_but_is_kept():
    assert cut([None] * 30) == []
    assert cut([0.9, None, None, 0.9] + [0.1] * 30) == [(0, 22)]


def answer(sequence, speech, *, gap=False, outcome=Outcome.COMPLETED):
    result = {"speech": speech} if outcome is Outcome.COMPLETED else None
    return Answer(
        source="mic",
        model="vad",
        sequence=sequence,
        frame=Frame(block(sequence), sequence * 32, gap=gap),
        outcome=outcome,
        result=result,
    )


async def test_answers_out_of_order_make_the_same_utterance():
    source = UtteranceSource()
    order = [1, 0, 3, 2, *range(4, 40)]
    for n in order:
        source.hear(answer(n, 0.9 if n < 10 else 0.1))
    frame = await source.next_frame()
    assert frame.payload[::BLOCK_SAMPLES].tolist() == list(range(29))
    assert frame.payload.dtype == np.float32
    assert frame.stamp_ns == 28 * 32


async def test_a_dropped_frame_is_kept_as_audio():
    source = UtteranceSource()
    for n in range(40):
        outcome = None if n == 3 else Outcome.FAILED if n == 4 else Outcome.COMPLETED
        source.hear(answer(n, 0.9 if n < 10 else 0.1, outcome=outcome))
    frame = await source.next_frame()
    assert frame.payload[::BLOCK_SAMPLES].tolist() == list(range(29))


async def test_a_gap_ends_the_utterance():
    source = UtteranceSource()
    for n in range(20):
        source.hear(answer(n, 0.9, gap=n == 8))
    source.finish()
    frames = [await source.next_frame(), await source.next_frame(), await source.next_frame()]
    assert [len(frame.payload) // BLOCK_SAMPLES for frame in frames[:2]] == [8, 12]
    assert frames[2] is None


@pytest.mark.parametrize("result", [None, 1, {}, {"speech": "x"}, {"speech": float("nan")}, []])
async def test_an_odd_answer_is_no_answer(result):
    source = UtteranceSource()
    odd = Answer(
        source="mic",
        model="vad",
        sequence=0,
        frame=Frame(block(0)),
        outcome=Outcome.COMPLETED,
        result=result,
    )
    source.hear(odd)
    source.finish()
    assert await source.next_frame() is None


async def test_whoever_waits_is_woken_and_the_oldest_is_lost_when_nobody_does():
    source, got = UtteranceSource(), []

    async def fetch():
        got.append(await source.next_frame())

    async with anyio.create_task_group() as group:
        group.start_soon(fetch)
        await wait_all_tasks_blocked()
        source.hear(answer(0, 0.9))
        source.hear(answer(1, 0.9, gap=True))
        await wait_all_tasks_blocked()
    assert len(got) == 1
    for n in range(2, 8):
        source.hear(answer(n, 0.9, gap=True))
    assert source.lost == 2
    assert (await source.next_frame()).payload[0] == 3
