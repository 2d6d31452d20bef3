"""Real clients for the programs in examples/: `cargo xtask examples` runs each scenario.

    python3 testing/examples/clients.py FOLDER SCENARIO

FOLDER has the programs. Each server listens on a port of its own. A scenario fails by an exception;
what hangs is ended by the step's time limit, and says first what it was doing.
"""

import contextlib
import hashlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

FOLDER = sys.argv[1]
PATIENCE = 20  # seconds, for each operation that must end
MEGABYTE = 1 << 20


class Server:
    """A program of examples/ that prints its address on its first line."""

    def __init__(self, name, *arguments, folder=FOLDER):
        program = os.path.join(folder, name)
        self.process = subprocess.Popen([program, *arguments], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        self.port = int(line.rsplit(":", 1)[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def connect(self):
        return connect(self.port)

    def address(self):
        return f"127.0.0.1:{self.port}"


def echo():
    return Server("examples/echo", "127.0.0.1:0")


def proxy(target, idle=60):
    return Server("proxy", "127.0.0.1:0", target, str(idle))


def connect(port):
    stream = socket.create_connection(("127.0.0.1", port))
    stream.settimeout(PATIENCE)
    return stream


def random(length):
    return os.urandom(MEGABYTE) * (length // MEGABYTE) if length > MEGABYTE else os.urandom(length)


def read_to_end(stream, slowly=False):
    received = bytearray()
    while chunk := stream.recv(256 * 1024):
        received += chunk
        if slowly:
            time.sleep(0.005)
    return bytes(received)


@contextlib.contextmanager
def sending(stream, data, end=lambda stream: stream.shutdown(socket.SHUT_WR)):
    """Sends from another thread, and then shuts down writing."""

    def send():
        stream.sendall(data)
        end(stream)

    thread = threading.Thread(target=send)
    thread.start()
    yield
    thread.join()


def echoes_to_a_slow_reader(server):
    """16 MiB, a half-close, and a client that begins to read late and reads slowly."""
    data = random(16 * MEGABYTE)
    with server.connect() as stream, sending(stream, data):
        time.sleep(0.3)
        assert read_to_end(stream, slowly=True) == data


def socat(server, data):
    """The answer that socat gets for `data`: it shuts down writing, and continues to read."""
    command = ["socat", "-t", str(PATIENCE), "-", f"TCP:{server.address()}"]
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout


def is_stopped(stream):
    """Sends without reading, until no byte was sent for a while."""
    stream.settimeout(0)
    sent, last = 0, time.monotonic()
    while time.monotonic() < last + 0.5:
        try:
            sent += stream.send(b"x" * 65536)
            last = time.monotonic()
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            time.sleep(0.001)
        assert sent < 128 * MEGABYTE, "it takes everything"


def reset(stream):
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    stream.close()


def until(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def echo_to_socat():
    with echo() as server:
        data = random(MEGABYTE)
        assert socat(server, data) == data


def echo_to_a_slow_reader():
    with echo() as server:
        echoes_to_a_slow_reader(server)


def echo_with_few_descriptors():
    """Clients that cannot be accepted are served when others have closed."""
    command = ["prlimit", "--nofile=12", os.path.join(FOLDER, "examples/echo"), "127.0.0.1:0"]
    with Server("prlimit", *command[1:], folder="/usr/bin") as server:
        streams = [server.connect() for _ in range(20)]
        while streams:
            with streams.pop(0) as stream:
                stream.sendall(b"hello")
                assert stream.recv(5, socket.MSG_WAITALL) == b"hello"


def udp_echo_to_socat():
    with Server("examples/udp_echo", "127.0.0.1:0") as server:
        command = ["socat", "-t", "5", "-", f"UDP:{server.address()},shut-none"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
            client.stdin.write(b"a datagram")
            client.stdin.flush()
            assert client.stdout.read(10) == b"a datagram"
            client.terminate()


def hears(client, line):
    while not (heard := client.stdout.readline()).endswith(b": " + line):
        assert heard, "the chat has ended"


def chat_among_socats():
    """A client that never reads is dropped, and does not disturb the others."""
    with Server("examples/chat", "127.0.0.1:0") as server:
        deaf = server.connect()
        command = ["socat", "-", f"TCP:{server.address()}"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen(command, **pipes) as one, subprocess.Popen(command, **pipes) as two:
            # Both have joined when each receives its own message.
            for client, line in [(one, b"first\n"), (two, b"second\n")]:
                client.stdin.write(line)
                client.stdin.flush()
                hears(client, line)
            hears(one, b"second\n")
            # More than a socket and the chat queue for a client.
            line, at_once, rounds = b"x" * 900 + b"\n", 100, 150
            for n in range(rounds):
                one.stdin.write(line * at_once)
                one.stdin.flush()
                for client in (one, two):
                    for _ in range(at_once):
                        assert client.stdout.readline().endswith(b": " + line), n
            one.terminate()
            two.terminate()
        # It was closed with unread input, or is closed at the end of its input.
        with contextlib.suppress(ConnectionResetError):
            assert len(read_to_end(deaf)) < rounds * at_once * len(line)
        deaf.close()


def proxy_to_curl():
    """A file from a web server, to a client that reads slowly."""
    with tempfile.TemporaryDirectory() as folder:
        data = random(8 * MEGABYTE)
        with open(os.path.join(folder, "file"), "wb") as file:
            file.write(data)
        command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
        with subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as web:
            port = web.stdout.readline().split(" port ")[1].split()[0]
            with proxy(f"127.0.0.1:{port}") as server:
                curl = ["curl", "-sSf", "--limit-rate", "4M", f"http://{server.address()}/file"]
                file = subprocess.run(curl, stdout=subprocess.PIPE, check=True).stdout
                assert hashlib.sha256(file).digest() == hashlib.sha256(data).digest()
            web.terminate()


def proxy_to_a_slow_reader():
    with echo() as target, proxy(target.address()) as server:
        echoes_to_a_slow_reader(server)
        data = random(MEGABYTE)
        assert socat(server, data) == data


def proxy_passes_a_half_close_on():
    """The server answers after the client's end, and not before."""
    with socket.create_server(("127.0.0.1", 0)) as target:
        with proxy("127.0.0.1:%d" % target.getsockname()[1]) as server:
            with server.connect() as client:
                client.sendall(b"question")
                client.shutdown(socket.SHUT_WR)
                behind, _ = target.accept()
                with behind:
                    behind.settimeout(PATIENCE)
                    assert read_to_end(behind) == b"question"
                    behind.sendall(b"answer")
                assert read_to_end(client) == b"answer"


def proxy_stops_a_client_whose_server_does_not_read():
    with socket.create_server(("127.0.0.1", 0)) as target:
        with proxy("127.0.0.1:%d" % target.getsockname()[1]) as server:
            with server.connect() as client, target.accept()[0]:
                is_stopped(client)


def proxy_passes_the_end_on_after_a_reset():
    with socket.create_server(("127.0.0.1", 0)) as target:
        with proxy("127.0.0.1:%d" % target.getsockname()[1]) as server:
            client = server.connect()
            client.sendall(b"x")
            behind, _ = target.accept()
            with behind:
                behind.settimeout(PATIENCE)
                assert behind.recv(1) == b"x"
                reset(client)
                with contextlib.suppress(ConnectionResetError):
                    assert behind.recv(1) == b""


def proxy_closes_when_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as unused:
        nobody = "127.0.0.1:%d" % unused.getsockname()[1]
    with proxy(nobody) as server, server.connect() as client:
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""


def proxy_closes_what_is_idle():
    with echo() as target, proxy(target.address(), idle=1) as server:
        with server.connect() as client, server.connect() as idle:
            start = time.monotonic()
            while time.monotonic() < start + 2.5:  # is busy for longer than a second
                client.sendall(b"x")
                assert client.recv(1) == b"x"
                time.sleep(0.1)
            assert idle.recv(1) == b""
            assert client.recv(1) == b""
            assert time.monotonic() >= start + 3


def proxy_ends_on_ctrl_c():
    """Ends at once without links, and with links when they have ended. New clients are not served."""
    with echo() as target:
        with proxy(target.address()) as server:
            server.process.send_signal(signal.SIGINT)
            assert server.process.wait(PATIENCE) == 0
        with proxy(target.address()) as server:
            with server.connect() as client:
                client.sendall(b"x")
                assert client.recv(1) == b"x"
                server.process.send_signal(signal.SIGINT)

                def is_refused():
                    try:
                        server.connect().close()
                        return False
                    except ConnectionResetError:
                        return False  # it was still in the listener's queue
                    except ConnectionRefusedError:
                        return True

                until(is_refused, "the proxy still listens")
                client.sendall(b"y")
                assert client.recv(1) == b"y"
            assert server.process.wait(PATIENCE) == 0


@contextlib.contextmanager
def tls_echo():
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
        command = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -days 1"
        command = command.split() + ["-addext", "subjectAltName=DNS:localhost"]
        command += ["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", certificate]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        with Server("tls_echo", certificate, key, "127.0.0.1:0") as server:
            server.certificate = certificate
            yield server


def tls_echo_to_openssl():
    with tls_echo() as server:
        for version in ["-tls1_2", "-tls1_3"]:
            command = ["openssl", "s_client", "-quiet", version, "-verify_return_error"]
            command += ["-servername", "localhost", "-CAfile", server.certificate]
            command += ["-connect", server.address()]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            with subprocess.Popen(command, stderr=subprocess.DEVNULL, **pipes) as client:
                client.stdin.write(b"through TLS\n")
                client.stdin.flush()
                assert client.stdout.readline() == b"through TLS\n"
                client.terminate()


def tls_echo_to_a_slow_reader():
    """Both directions at once, and the end of TLS (`close_notify`) in both."""
    with tls_echo() as server:
        context = ssl.create_default_context(cafile=server.certificate)
        data = random(8 * MEGABYTE)
        with server.connect() as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as stream:
                received = bytearray()
                stream.settimeout(0)
                sent, start = 0, time.monotonic()
                while len(received) < len(data):
                    # Sends until it would block, and only then reads a part.
                    try:
                        while sent < len(data):
                            sent += stream.send(data[sent : sent + 65536])
                    except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                        pass
                    try:
                        received += stream.recv(65536)
                    except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                        time.sleep(0.001)
                    assert time.monotonic() < start + PATIENCE, (sent, len(received))
                assert bytes(received) == data
                stream.settimeout(PATIENCE)
                stream.unwrap()  # sends `close_notify`, and waits for the server's


def tls_echo_stops_a_client_that_does_not_read():
    with tls_echo() as server:
        context = ssl.create_default_context(cafile=server.certificate)
        with server.connect() as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as stream:
                is_stopped(stream)


def tls_echo_survives_what_is_no_tls():
    with tls_echo() as server:
        with server.connect() as stream, contextlib.suppress(ConnectionResetError):
            stream.sendall(b"GET / HTTP/1.0\r\n\r\n")
            read_to_end(stream)
        context = ssl.create_default_context(cafile=server.certificate)
        with server.connect() as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as stream:
                stream.sendall(b"x")
                assert stream.recv(1) == b"x"


def signals_end_the_loop():
    program = os.path.join(FOLDER, "signals")
    for last in [signal.SIGINT, signal.SIGTERM]:
        with subprocess.Popen([program], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "waiting for signals\n"
            process.send_signal(signal.SIGHUP)
            process.send_signal(last)
            assert process.stdout.readline().startswith(f"ended by signal {int(last)}, after ")
            assert process.wait(PATIENCE) == 0


def children_are_waited_for():
    program = os.path.join(FOLDER, "examples/children")
    output = subprocess.run([program], check=True, stdout=subprocess.PIPE, text=True)
    *children, last = output.stdout.splitlines()
    assert last == "100 children have ended", last
    expected = [f"child {n}: {n % 4 + 1} lines, exit code Some({n % 5})" for n in range(100)]
    assert sorted(children) == sorted(expected), children


def children_are_waited_for_by_a_signal():
    commands = ["echo one; exit 3", "sleep 0.2; echo two", "exec >&-; sleep 0.2", "sleep 0.2 & exit 0"]
    program = os.path.join(FOLDER, "sigchld")
    output = subprocess.run([program, *commands], check=True, stdout=subprocess.PIPE, text=True)
    lines = sorted(output.stdout.splitlines())
    statuses = [line for line in lines if "exit status" in line]
    assert [line.rsplit(" ", 1)[1] for line in statuses] == ["3", "0", "0", "0"], lines
    assert [line for line in lines if '"' in line] == [
        '0: "one\\n"',
        '1: "two\\n"',
        '2: ""',
        '3: ""',
    ], lines


def stdin_of_each_kind():
    """A pipe whose writer is slow, files, and a terminal."""
    program = os.path.join(FOLDER, "stdin")

    def total(end, write=lambda: None):
        with subprocess.Popen([program], stdin=end, stdout=subprocess.PIPE) as process:
            os.close(end)
            write()
            output = process.communicate(timeout=PATIENCE)[0]
            assert process.returncode == 0
            return int(output.split()[0])

    readable, writable = os.pipe()

    def write_slowly():
        for n in range(10):
            time.sleep(0.01)
            os.write(writable, b"x" * 10_000)
        os.close(writable)

    os.set_inheritable(writable, False)
    assert total(readable, write_slowly) == 100_000
    assert total(os.open("/dev/null", os.O_RDONLY)) == 0
    assert total(os.open(program, os.O_RDONLY)) == os.path.getsize(program)

    master, terminal = os.openpty()

    def type_lines():
        for text in [b"one\n", b"two\n", b"\x04"]:
            time.sleep(0.01)
            os.write(master, text)

    assert total(terminal, type_lines) == 8
    os.close(master)


# `cargo xtask examples` reads these lines.
SCENARIOS = [
    echo_to_socat,
    echo_to_a_slow_reader,
    echo_with_few_descriptors,
    udp_echo_to_socat,
    chat_among_socats,
    proxy_to_curl,
    proxy_to_a_slow_reader,
    proxy_passes_a_half_close_on,
    proxy_stops_a_client_whose_server_does_not_read,
    proxy_passes_the_end_on_after_a_reset,
    proxy_closes_when_nobody_listens,
    proxy_closes_what_is_idle,
    proxy_ends_on_ctrl_c,
    tls_echo_to_openssl,
    tls_echo_to_a_slow_reader,
    tls_echo_stops_a_client_that_does_not_read,
    tls_echo_survives_what_is_no_tls,
    signals_end_the_loop,
    children_are_waited_for,
    children_are_waited_for_by_a_signal,
    stdin_of_each_kind,
]

next(scenario for scenario in SCENARIOS if scenario.__name__ == sys.argv[2])()
