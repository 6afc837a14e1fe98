# A box of the real binary, and strace on it, for the fault scripts.
"""A box of the real binary for the fault scripts: two folders as drives, people and devices, killed and started at will.

Standard library only. Nothing outside the given directory is written.
"""
import base64
import hashlib
import http.client
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Behind this folder, which has a box of its own.
sys.path.append(os.path.join(ROOT, "scripts", "clients"))
from ports import free_port  # noqa: E402

USUAL_BINARY = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "debug", "shoebox")


class Trouble(Exception):
    """The set-up does not work: no verdict about the product."""


def sha(data):
    return hashlib.sha256(data).hexdigest()


class Box:
    """One box in `dir`: drives `a` and `b`, settings, socket, log."""

    def __init__(self, binary, directory, mirror=True):
        self.binary, self.dir, self.mirror = binary, directory, mirror
        self.process = None
        self.port = None
        self.authorization = None

    # --- making

    def furnish(self):
        """Adopts both drives and adds anna with a computer; leaves the box stopped."""
        for drive in "ab":
            os.makedirs(self.path(drive))
        self.spawn()
        self.until(lambda: self.cli("status", "--json")[0] != 3, "the daemon answers")
        self.must("drive", "adopt", self.path("a"), "--role", "primary")
        self.must("drive", "adopt", self.path("b"), "--role", "mirror")
        self.must("person", "add", "anna")
        made = json.loads(self.must("device", "add", "anna", "laptop", "--kind", "computer", "--json"))
        pair = f"{made['user']}:{made['password']}".encode()
        self.authorization = "Basic " + base64.b64encode(pair).decode()
        self.until(self.ready, "the drives are ready")

    def twin(self, directory, mirror=True):
        """A copy of this stopped box in another directory."""
        if os.path.exists(directory):
            shutil.rmtree(directory)
        os.makedirs(directory)
        for drive in "ab":
            shutil.copytree(self.path(drive), os.path.join(directory, drive))
        twin = Box(self.binary, directory, mirror)
        twin.authorization = self.authorization
        return twin

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def write_settings(self):
        self.port = free_port()
        mounts = [self.path(drive) for drive in ("ab" if self.mirror else "a")]
        with open(self.path("config.toml"), "w", encoding="utf-8") as out:
            out.write(
                f'[http]\nlisten = ["127.0.0.1:{self.port}"]\nidle_seconds = 5\n'
                f"[drives]\nmounts = {json.dumps(mounts)}\nrequire_mount = false\n"
                f'[control]\nsocket = "{self.path("control.sock")}"\n'
                "[rescan]\nquiet_seconds = 1\n[health]\nperiod_seconds = 3600\n[log]\nlevel = \"warn\"\n"
            )

    # --- living

    def spawn(self):
        self.write_settings()
        with open(self.path("log"), "ab") as log:
            self.process = subprocess.Popen(
                [self.binary, "--config", self.path("config.toml"), "serve"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
            )

    def start(self):
        self.spawn()
        self.until(self.ready, "the drives are ready")

    def ready(self):
        code, out = self.cli("drive", "list", "--json")
        if code not in (0, 1):
            return False
        drives = json.loads(out)
        return len(drives) == (2 if self.mirror else 1) and all(
            d["standing"]["standing"] == "ready" for d in drives)

    def lives(self):
        return self.process is not None and self.process.poll() is None

    def ends(self, patience=2.0):
        """Whether it ends by itself within a moment."""
        try:
            self.process.wait(patience)
            return True
        except subprocess.TimeoutExpired:
            return False

    def kill(self):
        if self.process is not None:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def until(self, there, what, patience=20.0):
        end = time.monotonic() + patience
        while not there():
            if not self.lives():
                raise Trouble(f"the daemon ended before {what}: {self.tail()}")
            if time.monotonic() > end:
                raise Trouble(f"never: {what}: {self.tail()}")
            time.sleep(0.02)

    def tail(self):
        with open(self.path("log"), "rb") as log:
            return log.read()[-1500:].decode("utf-8", "replace")

    # --- asking

    def cli(self, *args):
        done = subprocess.run(
            [self.binary, "--config", self.path("config.toml"), *args],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False, timeout=60)
        return done.returncode, done.stdout.decode()

    def must(self, *args):
        code, out = self.cli(*args)
        if code != 0:
            raise Trouble(f"shoebox {' '.join(args)} ended with {code}: {out} {self.tail()}")
        return out

    def ask(self, *args):
        """The JSON that a command prints, whatever its verdict."""
        code, out = self.cli(*args)
        try:
            return json.loads(out)
        except ValueError:
            return {"exit": code, "printed": out}

    def request(self, method, name, body=None, headers=None, chunks=None, patience=30):
        """(status, body); (None, reason) when no answer came."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=patience)
        all_headers = {"Authorization": self.authorization, "Connection": "close", **(headers or {})}
        try:
            if chunks:
                pieces = (body[at:at + chunks] for at in range(0, len(body), chunks))
                connection.request(method, "/dav/" + name, pieces, all_headers, encode_chunked=True)
            else:
                connection.request(method, "/dav/" + name, body, all_headers)
            reply = connection.getresponse()
            return reply.status, reply.read()
        except TimeoutError:
            return None, "hang"
        except (OSError, http.client.HTTPException) as error:
            return None, type(error).__name__
        finally:
            connection.close()

    # --- looking

    def files(self, *below):
        """{path: sha256} of all files below a directory of the box."""
        found = {}
        top = self.path(*below)
        for where, _, names in os.walk(top):
            for name in names:
                full = os.path.join(where, name)
                try:
                    with open(full, "rb") as file:
                        found[os.path.relpath(full, top)] = sha(file.read())
                except FileNotFoundError:
                    pass
        return found


class Tracer:
    """strace on a daemon that is there already; counting of `when=` begins when this returns."""

    def __init__(self, box, log, *options):
        self.log = log
        self.process = subprocess.Popen(
            ["strace", "-f", "-y", "-s", "96", "-o", log, *options, "-p", str(box.process.pid)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, bufsize=0)
        # One line for every thread that is there; attached to all of them once each has been named.
        threads = set(os.listdir(f"/proc/{box.process.pid}/task"))
        seen = set()
        while not threads <= seen:
            if not select.select([self.process.stderr], [], [], 10)[0]:
                raise Trouble(f"strace attached to {sorted(seen)} of {sorted(threads)}")
            line = self.process.stderr.readline().decode()
            if not line:
                raise Trouble(f"strace did not attach to {box.process.pid}")
            # The summary line counts threads and names only the process.
            many = re.match(r"strace: Process (\d+) attached with (\d+) threads", line)
            if many:
                break
            one = re.match(r"strace: Process (\d+) attached", line)
            if one:
                seen.add(one.group(1))

    def stop(self):
        """Ends the tracing, not the daemon, and returns the log's lines."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            # strace 6.1 at times waits for ever for the threads of a process that was killed under it.
            self.process.wait(0.5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read().splitlines()


def have_strace():
    return shutil.which("strace") is not None
