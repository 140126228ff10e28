"""Who may talk to the broker: user and password, certificates on both sides."""

from __future__ import annotations

import json
import subprocess

import anyio
import pytest

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


# paho leaves the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_certificates_on_both_sides(make_broker, make_node, certificates, eventually, caplog):
    listener = "\n".join(
        [
            f"cafile {certificates}/ca.pem",
            f"certfile {certificates}/broker.pem",
            f"keyfile {certificates}/broker.key",
            "require_certificate true",
            "user root",
        ]
    )
    broker = make_broker(name="own", listener=listener)
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
