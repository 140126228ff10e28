"""Who may talk to the broker: user and password, certificates on both sides."""

from __future__ import annotations

import gc
import json
import subprocess
import sys

import anyio
import pytest
from anyio import to_thread
from typer.testing import CliRunner

from scheduler.cli.app import app
from scheduler.client import broker_checkup
from scheduler.config.mqtt import Mqtt
from scheduler.errors import ConfigError
from scheduler.transport.security import read_credentials


def openssl(folder, *args):
    subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """An authority, a broker's and a node's certificate, and one that nobody knows."""
    folder = tmp_path_factory.mktemp("certificates")
    new = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for name in ("ca", "stranger"):
        self_signed = ["-x509", "-days", "2", "-keyout", f"{name}.key", "-out", f"{name}.pem"]
        openssl(folder, *new, *self_signed, "-subj", f"/CN={name}")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1")
    for name in ("broker", "node"):
        openssl(
            folder, *new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}"
        )
        signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"]
        signed += ["-extfile", "names", "-in", f"{name}.csr", "-out", f"{name}.pem"]
        openssl(folder, "x509", "-req", *signed)
    for file in folder.iterdir():
        file.chmod(0o644)
    folder.chmod(0o755)
    return folder


@pytest.fixture
def passwords(tmp_path):
    file = tmp_path / "passwords"
    file.touch()
    subprocess.run(["mosquitto_passwd", "-b", file, "rover", "geheim é"], check=True)
    return file


async def test_user_and_password(make_broker, make_node, passwords, eventually, caplog):
    said = passwords.with_name("password.txt")
    said.write_text("geheim é\n", encoding="utf-8")
    broker = make_broker(
        "allow_anonymous false", "user root", f"password_file {passwords}", name="own"
    )
    node = make_node(on=broker, username="rover", password_file=said)
    async with node.running():
        assert node.is_up
    said.write_text("wrong")
    node = make_node(on=broker, username="rover", password_file=said)
    async with node.runtime, anyio.create_task_group() as beside:
        beside.start_soon(node.transport.run)
        await eventually(lambda: "Not authorized" in caplog.text or "authori" in caplog.text)
        assert not node.is_up
        beside.cancel_scope.cancel()
    assert "wrong" not in caplog.text


@pytest.fixture
def make_tls_broker(make_broker, certificates):
    """A broker that wants a certificate of whoever comes."""

    def make(*lines):
        listener = [
            f"cafile {certificates}/ca.pem",
            f"certfile {certificates}/broker.pem",
            f"keyfile {certificates}/broker.key",
            "require_certificate true",
            "user root",
        ]
        return make_broker(*lines, name="own", listener="\n".join(listener))

    yield make
    gc.collect()  # what paho leaves of failed handshakes is found here, and in no other test


# paho leaves the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_certificates_on_both_sides(
    make_tls_broker, make_node, certificates, eventually, caplog
):
    broker = make_tls_broker()
    url = f"mqtts://127.0.0.1:{broker.port}"

    def tls(ca="ca", own="node"):
        own_files = {"cert": certificates / f"{own}.pem", "key": certificates / f"{own}.key"}
        return {"ca": certificates / f"{ca}.pem", **(own_files if own else {})}

    node = make_node(on=broker, url=url, tls=tls())
    async with node.running():
        flags = ["--cafile", f"{certificates}/ca.pem"]
        flags += ["--cert", f"{certificates}/node.pem", "--key", f"{certificates}/node.key"]
        told = await broker.call(
            "rr", "-t", node.infer(), "-e", "r", "-m", '{"payload": 1}', "-W", "5", *flags
        )
        assert json.loads(told)["result"] == 1
    words = ["verify failed", "may want a certificate", "may want a certificate"]
    wrongs = [tls(ca="stranger"), tls(own="stranger"), tls(own=None)]
    for wrong, word in zip(wrongs, words, strict=True):
        caplog.clear()
        node = make_node(on=broker, url=url, tls=wrong)
        async with node.runtime, anyio.create_task_group() as beside:
            beside.start_soon(node.transport.run)
            await eventually(lambda: "no connection to the broker" in caplog.text)
            assert not node.is_up
            beside.cancel_scope.cancel()
        assert word in caplog.text


# -- `rota call` and `rota doctor mqtt` -------------------------------------------------------


async def rota(*words):
    """The command, in a thread: its event loop is another than that of the node."""
    return await to_thread.run_sync(CliRunner().invoke, app, [str(word) for word in words])


async def rota_apart(*words):
    """In a process of its own: paho leaves the socket of a failed handshake behind."""

    def run():
        return subprocess.run(
            [sys.executable, "-m", "scheduler", *map(str, words)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return await to_thread.run_sync(run)


@pytest.fixture
def guarded(make_tls_broker, make_node, passwords, certificates):
    """A node behind a broker that wants everything, and the configuration that has it all."""
    broker = make_tls_broker("allow_anonymous false", f"password_file {passwords}")
    said = passwords.with_name("password.txt")
    said.write_text("geheim é\n", encoding="utf-8")
    url = f"mqtts://127.0.0.1:{broker.port}"
    tls = {key: certificates / name for key, name in FILES.items()}
    node = make_node(on=broker, url=url, username="rover", password_file=said, tls=tls)
    config = passwords.with_name("robot.yaml")
    files = ", ".join(f"{key}: {path}" for key, path in tls.items())
    config.write_text(
        "memory: {budget: 1GiB}\nmodels: {m: {engine: synthetic, footprint: 1MiB}}\n"
        f"mqtt: {{url: {url}, username: rover, client_id: rota-n1, "
        f"password_file: {said}, tls: {{{files}}}}}\n"
    )
    options = ["--username", "rover", "--password-file", said]
    options += [word for key, path in tls.items() for word in (f"--tls-{key}", path)]
    return node, url, options, config


FILES = {"ca": "ca.pem", "cert": "node.pem", "key": "node.key"}


async def test_a_node_behind_tls_and_a_password_is_asked_by_hand(guarded):
    node, url, options, config = guarded
    async with node.running():
        for words in (["--url", url, *options], ["--config", config]):
            done = await rota("call", "n1", "echo", *words)
            assert (done.exit_code, json.loads(done.stdout)) == (0, "example"), done.stderr
        bare = await rota_apart("call", "n1", "echo", "--url", url)
        assert (bare.returncode, "verify failed" in bare.stderr) == (1, True), bare.stderr
        words = ["--config", config, "--password-file", config]
        refused = await rota("call", "n1", "echo", *words)
        assert (refused.exit_code, "uthori" in refused.stderr) == (1, True), refused.stderr


async def test_a_node_behind_tls_and_a_password_is_watched(guarded):
    node, url, options, config = guarded
    async with node.running():
        for words in ([url, *options], ["--config", config]):
            done = await rota("top", "--once", *words)
            assert (done.exit_code, "n1 online" in done.stdout) == (0, True), done.stderr


async def test_a_broker_behind_tls_and_a_password_is_measured(guarded, monkeypatch):
    _, url, options, config = guarded
    monkeypatch.setattr(broker_checkup, "TRIPS", 3)
    for words in ([url, *options], ["--config", config]):
        done = await rota("doctor", "mqtt", *words)
        assert done.exit_code == ("to mend" in done.stdout), done.stderr
        assert "QoS 1 round trip, as Rota does" in done.stdout
    bare = await rota_apart("doctor", "mqtt", url)
    assert (bare.returncode, f"a broker at {url}" in bare.stderr) == (1, True), bare.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tls-ca", "ca.pem"], "mqtts://"),
        (["--url", "mqtts://x", "--tls-ca", "none.pem"], "none.pem"),
        (["--password-file", "none.txt"], "none.txt"),
        (["--config", "bare.yaml"], "has no mqtt section"),
        (["--config", "none.yaml"], "none.yaml"),
    ],
)
def test_what_does_not_go_together_is_wrong_usage(tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bare.yaml").write_text(
        "memory: {budget: 1GiB}\nmodels: {m: {engine: synthetic, footprint: 1MiB}}\n"
    )
    (tmp_path / "ca.pem").touch()
    for command in (["call", "n1", "echo"], ["doctor", "mqtt"]):
        if command[0] == "doctor" and "--url" in words:
            words = words[1:]  # it is an argument there
        wrong = CliRunner().invoke(app, [*command, *words])
        assert (wrong.exit_code, said in wrong.stderr) == (2, True), wrong.output


# -- what is read -----------------------------------------------------------------------------


def test_a_password_is_the_first_line_of_its_file_and_shown_nowhere(tmp_path):
    file = tmp_path / "password.txt"
    file.write_text("s3cret\nnot this\n")
    credentials = read_credentials(Mqtt(password_file=file))
    assert credentials.password == "s3cret"  # noqa: S105 - a test's
    assert "s3cret" not in repr(credentials)


@pytest.mark.parametrize("kind", ["certificate", "password"])
def test_files_that_cannot_be_read_are_told_with_their_key(tmp_path, kind):
    file = tmp_path / "file"
    file.write_bytes(b"\xff\xfe")
    wrong = {"password_file": file} if kind == "password" else {"tls": {"ca": file}}
    with pytest.raises(ConfigError, match=r"mqtt\.(tls|password_file)"):
        read_credentials(Mqtt(url="mqtts://localhost", **wrong))


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("mqtt://localhost", ("localhost", 1883, False)),
        ("mqtts://broker.local", ("broker.local", 8883, True)),
        ("mqtt://10.0.0.2:1884/", ("10.0.0.2", 1884, False)),
        ("mqtt://[::1]:1883", ("::1", 1883, False)),
    ],
)
def test_a_broker_is_named_by_its_url(url, read):
    broker = Mqtt(url=url).url
    assert (broker.host, broker.port, broker.uses_tls) == read


@pytest.mark.parametrize("url", ["localhost", "http://x", "mqtt://x:0", "mqtt://x:70000", 5, ""])
def test_what_is_no_broker_is_refused(url):
    with pytest.raises(ValueError, match=r"is no broker|a port is"):
        Mqtt(url=url)
