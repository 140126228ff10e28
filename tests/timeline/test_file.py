"""The picture and the page as files."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.core import events as ev
from scheduler.core.decisions import EngineRef, FinishRequest, GrantLease, LoadEngine
from scheduler.core.model import ModelSpec, PoolFootprint
from scheduler.core.outcome import Outcome, Reason, ReasonCode
from scheduler.core.request import Request
from scheduler.core.settings import PoolBudget, Settings
from scheduler.timeline.builder import TimelineBuilder
from scheduler.timeline.file import write_timeline
from scheduler.timeline.memory_panel import PANEL, ROOM_ABOVE
from scheduler.timeline.page import render_page
from scheduler.timeline.picture import draw
from scheduler.trace.header import Header
from scheduler.trace.record import Record

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def timeline(robot):
    settings = robot.core._state.settings
    header = Header(
        node="rover-1", started_at="2026-01-02T03:04:05+00:00", started_ns=0, settings=settings
    )
    builder = TimelineBuilder(header)
    for record in robot.records:
        builder.observe(record)
    return builder.timeline()


def named(text, node="rover"):
    """A timeline in which everything that can be named is called `text`."""
    settings = Settings(pools={text: PoolBudget(budget_bytes=100)})
    builder = TimelineBuilder(Header(node=node, started_at="", started_ns=0, settings=settings))
    events = [
        (ev.ModelRegistered(ModelSpec(name=text, footprint={})), ()),
        (
            ev.RequestArrived(Request(id=1, models=(text,))),
            (FinishRequest(1, Outcome.REJECTED, Reason(ReasonCode.QUEUE_FULL, text)),),
        ),
    ]
    for number, (event, decisions) in enumerate(events, 1):
        builder.observe(Record(number, number, event, decisions, {text: 5}))
    return builder.timeline()


def texts(root):
    """Every line of text in the picture, without what the pointer brings up."""
    spans = f"{SVG}tspan"
    return [
        (element.text or "") + "".join(span.text for span in element.iter(spans))
        for element in root.iter(f"{SVG}text")
    ]


def parsed(text):
    return ET.fromstring(text)  # noqa: S314 - our own picture


def test_the_picture_is_well_formed_and_says_what_happened(timeline, tmp_path):
    write_timeline(timeline, tmp_path / "t.svg")
    root = parsed((tmp_path / "t.svg").read_text("utf-8"))
    assert root.tag == f"{SVG}svg"
    said = texts(root)
    for lane in timeline.lanes:
        assert lane.model in said
    report = timeline.report
    served = sum(model.completed for model in report.models.values())
    asked = sum(model.requests for model in report.models.values())
    assert any(f"{served:,} of {asked:,} requests served" in line for line in said)
    assert "budget 420.0 MiB" in said
    assert "2026-01-02 03:04:05" in said


def test_every_lane_has_its_bars_blocks_and_marks(timeline):
    root = draw_again(timeline)
    hovers = [element.text for element in root.iter(f"{SVG}title")]
    for words in (
        r"text held from 2\.\d+ s for [\d,.]+ ms \(lease \d+, request \d+.*\)",
        r"faces in memory .*",
        r"faces running .*",
        r"text waited for .*",
        r"speech loading from .*",
        r"text unloading from .* \(room for .*\)",
        r"missed deadline .*at .* s.*",
    ):
        assert any(re.fullmatch(words, hover) for hover in hovers), words


def test_the_legend_names_only_what_is_there(timeline):
    there = texts(draw_again(timeline))
    assert {"loading", "in memory", "held", "running", "missed deadline", "measured"} <= set(there)
    assert "failed" not in there
    assert {"held", "measured"}.isdisjoint(texts(draw_again(named("x"))))


def draw_again(timeline):
    return parsed(ET.tostring(draw(timeline)))


def test_nothing_is_outside_of_the_picture(timeline):
    root = draw_again(timeline)
    _, _, width, height = map(float, root.get("viewBox").split())
    plot = next(element for element in root.iter(f"{SVG}svg") if element.get("id") == "plot")
    inner = float(plot.get("width"))
    for block in plot.iter(f"{SVG}rect"):
        assert -2 <= float(block.get("x")) <= inner + 2
        assert float(block.get("width")) >= 0
    for line in root.iter(f"{SVG}text"):
        assert 0 <= float(line.get("x")) <= width
        assert 0 <= float(line.get("y")) <= height


def test_the_reserved_area_never_passes_the_budget_line(timeline):
    root = draw_again(timeline)
    paths = list(root.iter(f"{SVG}path"))
    (budget,) = [p for p in paths if "dashed" in p.get("class")]
    line = float(budget.get("d").split()[1].split("H")[0])
    areas = [p for p in paths if p.get("class") == "paper"]
    assert areas
    for area in areas:
        heights = [float(y) for y in re.findall(r"V([\d.]+)", area.get("d"))]
        assert min(heights) >= line - 0.01


def test_bands_are_stacked_in_proportion_to_their_bytes():
    settings = Settings(pools={"unified": PoolBudget(budget_bytes=100)})
    builder = TimelineBuilder(Header(node="n", started_at="", started_ns=0, settings=settings))
    footprint = {"unified": PoolFootprint(resident_bytes=40, workspace_bytes=9)}
    steps = [
        (ev.ModelRegistered(ModelSpec(name="faces", footprint=footprint)), (), 11),
        (ev.TimerFired(), (LoadEngine("faces", 1),), 51),
        (ev.EngineLoaded("faces", 1), (GrantLease(1, (EngineRef("faces", 1),), ()),), 60),
    ]
    for number, (event, decisions, reserved) in enumerate(steps, 1):
        builder.observe(Record(number, number * 10**9, event, decisions, {"unified": reserved}))
    edges = {}
    for path in draw_again(builder.timeline()).iter(f"{SVG}path"):
        name = path.find(f"{SVG}title")
        if name is not None and path.get("d").endswith("Z"):
            *heights, floor = map(float, re.findall(r"V([\d.]+)", path.get("d")))
            edges[name.text] = (floor - min(heights)) / PANEL * ROOM_ABOVE * 100
    assert edges == pytest.approx({"running": 60, "faces": 51, "overhead and residue": 11}, abs=0.1)


def test_the_page_needs_nothing_but_itself(timeline, tmp_path):
    write_timeline(timeline, tmp_path / "t.html")
    page = (tmp_path / "t.html").read_text("utf-8")
    addresses = set(re.findall(r"[a-z]+://[^\s\"'<)]*", page))
    assert addresses == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<link|<img|<iframe|src=|@import|url\((?!#)", page)
    assert "prefers-color-scheme: dark" in page


def test_the_page_has_the_figures_in_a_table(timeline):
    page = render_page(timeline)
    faces = timeline.report.models["faces"]
    row = re.search(r"<tr><td>faces</td>(.*?)</tr>", page)[1]
    cells = re.findall(r"<td>(.*?)</td>", row)
    assert cells[:3] == [
        f"{faces.requests:,}",
        f"{faces.completed:,}",
        f"{faces.deadline_missed:,}",
    ]
    assert cells[-2:] == [str(faces.loads), str(faces.unloads)]


def test_only_the_page_carries_the_detail_of_zooming_in(timeline):
    groups = [g.get("class") for g in draw_again(timeline).iter(f"{SVG}g")]
    assert "fine" not in groups
    assert draw_again(timeline).get("data-seconds") is None
    assert 'class="fine"' in render_page(timeline)


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, tuple(name for name, _ in attrs)))


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        '"><img onerror=x>',
        "a&b",
        "]]>",
        "</svg>",
        "</style>",
        "'",
        "é😀",
    ],
)
def test_names_are_text_and_never_markup(text, tmp_path):
    plain, odd = Tags(), Tags()
    plain.feed(render_page(named("harmless", node="harmless")))
    odd.feed(render_page(named(text, node=text)))
    assert odd.tags == plain.tags
    write_timeline(named(text, node=text), tmp_path / "t.svg")
    assert text[:15] in " ".join(texts(parsed((tmp_path / "t.svg").read_text("utf-8"))))


@given(st.text(st.characters(), max_size=20))
def test_any_name_gives_a_well_formed_picture(text):
    assert len(texts(draw_again(named(text, node=text)))) > 5


def test_a_run_without_records_can_be_drawn(tmp_path):
    settings = Settings(pools={"unified": PoolBudget(budget_bytes=100)})
    header = Header(node="n", started_at="", started_ns=0, settings=settings)
    write_timeline(TimelineBuilder(header).timeline(), tmp_path / "t.html")
    assert "0 of 0 requests served" in (tmp_path / "t.html").read_text()


@pytest.mark.parametrize("name", ["t.png", "t", "t.svg.gz"])
def test_another_suffix_is_refused_and_named(name, timeline, tmp_path):
    with pytest.raises(ValueError, match=r"written as \.html or \.svg, not as"):
        write_timeline(timeline, tmp_path / name)
    assert list(tmp_path.iterdir()) == []
