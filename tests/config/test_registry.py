from __future__ import annotations

import sys
from textwrap import dedent

import pytest

from scheduler.errors import PluginError
from scheduler.plugin import registry

GOOD = """
    from scheduler.plugin.engine import EngineOptions, EnginePlugin

    class Engine(EnginePlugin):
        def load(self): pass
        def infer(self, batch): return batch
        def unload(self): pass

    class Unfinished(EnginePlugin):
        def load(self): pass
        def infer(self, batch): return batch

    class BadOptions(Engine):
        Options = dict

    not_a_class = Engine(EngineOptions(), None)

    class Stranger:
        pass
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a distribution with engines, as a real one is: metadata and a module on the path."""
    before = set(sys.modules)

    def install_one(distribution: str, engines: dict[str, str], module: str = "", code: str = ""):
        site = tmp_path / distribution
        info = site / f"{distribution.replace('-', '_')}-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n"
        )
        points = "".join(f"{name} = {value}\n" for name, value in engines.items())
        (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{points}")
        if module:
            (site / f"{module}.py").write_text(dedent(code))
        monkeypatch.syspath_prepend(str(site))

    yield install_one
    for name in set(sys.modules) - before:
        if name.startswith("plug_"):
            del sys.modules[name]


def entry(name: str) -> registry.EngineEntry:
    (found,) = (one for one in registry.available() if one.name == name)
    return found


def test_an_installed_engine_is_found_by_name(install):
    install("acme-engines", {"acme": "plug_good:Engine"}, "plug_good", GOOD)
    assert registry.find("acme").__name__ == "Engine"
    assert entry("acme") == registry.EngineEntry("acme", "acme-engines", "1.2", None)


def test_only_what_is_asked_for_is_imported(install):
    install("acme-engines", {"acme": "plug_good:Engine"}, "plug_good", GOOD)
    install("other", {"other": "plug_other:Engine"}, "plug_other", GOOD)
    registry.find("acme")
    assert "plug_other" not in sys.modules


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import nothing_of_that_name", "ModuleNotFoundError: No module named"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def f(:", "SyntaxError"),
        ("1/0", "ZeroDivisionError"),
        ("raise BaseException('x\\ny')", "BaseException: x"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("x = 1", "AttributeError"),
    ],
)
def test_a_broken_plugin_is_out_of_use_and_disturbs_no_other(install, code, told):
    install("broken-plugin", {"broken": "plug_broken:Engine"}, "plug_broken", code)
    install("acme-engines", {"acme": "plug_good:Engine"}, "plug_good", GOOD)
    with pytest.raises(PluginError, match=told) as caught:
        registry.find("broken")
    assert str(caught.value).startswith('engine "broken" of broken-plugin 1.2 cannot be used: ')
    assert len(str(caught.value).splitlines()) == 1
    assert entry("broken").error == str(caught.value)
    assert entry("acme").error is None


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("plug_good:Stranger", "is not a class derived from EnginePlugin"),
        ("plug_good:not_a_class", "is not a class derived from EnginePlugin"),
        ("plug_good", "is not a class derived from EnginePlugin"),
        ("plug_good:Unfinished", "Unfinished does not define unload"),
        ("plug_good:BadOptions", "BadOptions.Options is not a class derived from EngineOptions"),
        ("not a target!", "cannot be used"),
    ],
)
def test_what_is_no_engine_is_told(install, target, told):
    install("acme-engines", {"acme": target}, "plug_good", GOOD)
    with pytest.raises(PluginError, match=told):
        registry.find("acme")
    assert told in (entry("acme").error or "")


def test_a_users_interrupt_is_not_swallowed(install):
    install("slow", {"slow": "plug_slow:Engine"}, "plug_slow", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        registry.find("slow")


def test_a_missing_engine_has_a_nearest_name(install):
    install("acme-engines", {"acme_detector": "plug_good:Engine"}, "plug_good", GOOD)
    with pytest.raises(PluginError, match='did you mean "acme_detector"') as caught:
        registry.find("acme_detectr")
    assert "installed: acme_detector, " in str(caught.value)


def test_one_name_from_two_distributions_names_both(install):
    install("acme-engines", {"acme": "plug_good:Engine"}, "plug_good", GOOD)
    install("acme-fork", {"acme": "plug_fork:Engine"}, "plug_fork", GOOD)
    with pytest.raises(PluginError, match=r"acme-engines 1\.2 and acme-fork 1\.2; uninstall one"):
        registry.find("acme")
    errors = [one.error for one in registry.available() if one.name == "acme"]
    assert len(errors) == 2
    assert all("acme-engines 1.2 and acme-fork 1.2" in str(error) for error in errors)


def test_an_engine_of_ones_own_is_named_by_its_class(install):
    install("unrelated", {}, "plug_good", GOOD)
    assert registry.find("plug_good:Engine").__name__ == "Engine"
    with pytest.raises(PluginError, match="put its folder on PYTHONPATH"):
        registry.find("plug_not_there:Engine")
    with pytest.raises(PluginError, match="cannot be used"):
        registry.find("plug_good:Missing")


@pytest.mark.parametrize("name", [":", "a:", ":b", "a.b:c d", "..:x", "x" * 500, "\0:x", ""])
def test_any_name_is_an_engine_or_a_plugin_error(name):
    with pytest.raises(PluginError):
        registry.find(name)


def test_the_projects_own_engines_are_offered_by_rota():
    offered = {one.name: one.distribution for one in registry.available()}
    assert {"synthetic", "onnxruntime"} <= set(offered)
    assert offered["synthetic"] == "rota"
