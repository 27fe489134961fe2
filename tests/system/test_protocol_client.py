#!/usr/bin/env python3
"""The rig that PROTOCOL.md gives as a complete example drives a real session: extracted
from the document, run against a real daemon and display, until trials are valid."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

try:
    import numpy  # noqa: F401  (the example needs it)
    import zmq
except ImportError as error:
    print(f"SKIPPED: {error}")
    sys.exit(77)

N_VALID = 20
PATIENCE_S = 60
CONF = """
[session]
directory = {folder}
[ingest]
units = 20
diode_line = 0
[display]
start = yes
silence_ms = 5000
[stimulus]
height = 8
width = 8
[trial]
stimulus_ms = 100
gap_ms = 50
[learn]
policy = random
"""


def examples():
    """The Python blocks of the document: hash function, rig, request."""
    path = os.path.join(os.environ["EVOKE_SOURCE_DIR"], "protocol", "PROTOCOL.md")
    with open(path, encoding="utf-8") as file:
        blocks = re.findall(r"^```python\n(.*?)^```", file.read(), re.M | re.S)
    assert len(blocks) == 3, f"{len(blocks)} examples in PROTOCOL.md"
    return blocks


def ask(context, folder, request):
    """A reply of the daemon, None while it does not answer."""
    socket = context.socket(zmq.REQ)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RCVTIMEO, 500)
    socket.connect(f"ipc://{folder}/control.sock")
    try:
        socket.send_json(request)
        return socket.recv_json()
    except zmq.Again:
        return None
    finally:
        socket.close()


def check_hash(code, context, folder):
    """The document's hash of a published stimulus is the one in its head."""
    names = {"struct": __import__("struct")}
    exec(code, names)
    follow = context.socket(zmq.SUB)
    follow.setsockopt(zmq.RCVTIMEO, 20000)
    follow.subscribe(b"stimulus")
    follow.connect(f"ipc://{folder}/publish.sock")
    _, head, payload = follow.recv_multipart()
    follow.close()
    name, height, width, dtype = names["struct"].unpack_from("<QIII", head, 32)
    assert (height, width, dtype, len(payload)) == (8, 8, 1, 64)
    assert names["content_hash"](height, width, dtype, payload) == name


def check_request(code, folder):
    """The document's request prints the counters."""
    program = f"import zmq\nfolder = {folder!r}\n{code}"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                         timeout=20, check=True)
    assert "count_messages" in run.stdout, run.stdout


def session(folder, children):
    content_hash, rig, request = examples()
    with open(f"{folder}/rig.py", "w", encoding="utf-8") as file:
        file.write(rig)
    with open(f"{folder}/evoke.conf", "w", encoding="utf-8") as file:
        file.write(CONF.format(folder=folder))
    environment = {**os.environ, "EVOKE_RUNTIME": folder}
    evoked = os.path.join(os.environ["EVOKE_BIN_DIR"], "evoked")
    daemon = subprocess.Popen([evoked, "-c", f"{folder}/evoke.conf"], env=environment)
    children.append(daemon)
    context = zmq.Context()
    end = time.monotonic() + PATIENCE_S
    while not ask(context, folder, {"do": "status"}):
        assert daemon.poll() is None and time.monotonic() < end, "no daemon"
    client = subprocess.Popen([sys.executable, f"{folder}/rig.py", folder])
    children.append(client)
    check_hash(content_hash, context, folder)
    check_request(request, folder)
    follow = context.socket(zmq.SUB)
    follow.connect(f"ipc://{folder}/publish.sock")
    follow.subscribe(b"trial")
    counters = {"valid": 0}
    while counters["valid"] < N_VALID:
        status = ask(context, folder, {"do": "status"})
        assert status and status["ok"], "the daemon is silent"
        assert client.poll() is None, "the rig has ended"
        assert time.monotonic() < end, f"only {status['counters']}"
        counters = status["counters"]
        if follow.poll(1000):
            follow.recv_multipart()
    assert not any(counters["refused"].values()), counters
    assert counters["edges"] >= counters["valid"], counters
    assert counters["messages_lost"] == 0, counters
    assert ask(context, folder, {"do": "dance"})["ok"] is False
    assert ask(context, folder, {"do": "stop"})["ok"] is True
    assert daemon.wait(20) == 0, "the daemon did not end well"
    assert client.wait(20) == 0, "the rig did not hear the end"
    print(f"{counters['valid']} valid of {counters['trials']} trials, "
          f"{counters['edges']} edges, {counters['count_messages']} messages with counts")


def main():
    folder = tempfile.mkdtemp(prefix="evoke-client-")
    children = []
    try:
        session(folder, children)
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
                child.wait()
        shutil.rmtree(folder, ignore_errors=True)


main()
