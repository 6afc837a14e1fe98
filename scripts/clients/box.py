# A box to test against: starts `shoebox demo` in a fresh folder, counts checks, and asks about what was acknowledged.
"""Shared by the suites in this folder, scripts/memory and scripts/bench. Python's standard library only."""

import argparse
import base64
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import unicodedata
from pathlib import Path

from ports import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
LEFT_OUT = 77  # the exit code of a suite that could not run here, as in automake
SETTLING = 60  # seconds within which what was acknowledged must be on drive B, read back
FORBIDDEN = '<>:"\\|?*'
DEVICE = re.compile("con|prn|aux|nul|(com|lpt)[0-9]", re.IGNORECASE)  # what Windows does not take as a file's name


class LeftOut(Exception):
    """This suite cannot run on this machine, and why."""


def interrupted(number, _frame):
    raise SystemExit(128 + number)


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def on_disk(name):
    """How a drive spells a name: NFC, and what FAT and NTFS do not take at U+F000 + its code (docs/FORMAT.md)."""
    parts = []
    for part in unicodedata.normalize("NFC", name).split("/"):
        device = DEVICE.fullmatch(part.split(".")[0].rstrip(" "))
        moved = [c in FORBIDDEN or (at == 0 and device) or (at == len(part) - 1 and c in ". ")
                 for at, c in enumerate(part)]
        parts.append("".join(chr(0xF000 + ord(c)) if move else c for c, move in zip(part, moved)))
    return "/".join(parts)


def chunks(drive):
    """Parts of uploads that wait on a drive, by number: those that are files of their own, and the records of those that were appended to
    the file that grows (docs/FORMAT.md). With the inode, by which one that was made anew is told."""
    found = {}
    for file in (drive / ".shoebox/uploads").glob("*/*"):
        number, *record = file.name.split(".")
        if number.isdigit() and (len(record) in (0, 3) or record[3:] == ["all"]):
            try:
                found[int(number)] = file.stat().st_ino
            except FileNotFoundError:
                pass
    return found


class Box:
    """A running daemon with a phone and a computer, in a folder of its own."""

    def __init__(self, binary, folder):
        self.binary = str(binary)
        self.folder = Path(folder)
        self.a, self.b = self.folder / "a", self.folder / "b"
        self.log = open(self.folder.with_name(self.folder.name + ".log"), "w", encoding="utf-8")
        self.process = None

    def start(self):
        self.serve(f"127.0.0.1:{free_port()}")
        added = self.ask("device", "add", "anna", "laptop", "--kind", "computer", "--json")
        self.computer = json.loads(added.stdout)["password"]

    def serve(self, listen):
        self.process = subprocess.Popen(
            [self.binary, "demo", "--dir", str(self.folder), "--listen", listen, "--json"],
            stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the demo ended without printing its facts: " + self.tail())
        facts = json.loads(line)
        self.url = facts["dav_url"]
        self.host = self.url.split("/")[2]
        self.address, port = self.host.split(":")
        self.port = int(port)
        self.user, self.config = facts["user"], facts["config"]
        self.phone = facts["password"]
        # The news the demo prints; nobody reads them, and a full pipe would stop it.
        self.news = subprocess.Popen(["cat"], stdin=self.process.stdout, stdout=self.log)
        self.process.stdout.close()

    def kill(self):
        """Ends the daemon as a power cut would, but for what the kernel holds."""
        self.process.kill()
        self.process.wait()
        self.news.wait(10)
        self.process = None

    def again(self):
        """Starts it again, at the address it had."""
        self.serve(f"{self.address}:{self.port}")

    def ask(self, *arguments, check=True):
        done = subprocess.run([self.binary, "--config", self.config, *arguments],
                              capture_output=True, text=True, timeout=3600)
        if check and done.returncode != 0:
            raise RuntimeError(f"shoebox {' '.join(arguments)}: exit code {done.returncode}: {done.stderr.strip()}")
        return done

    def receipt(self, path):
        done = self.ask("receipt", path, "--json", check=False)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def request(self, method, path, body=None, headers=None, password=None):
        """One request by a computer (or who has `password`), on a connection of its own."""
        connection = http.client.HTTPConnection(self.address, self.port, timeout=60)
        try:
            sent = {"Authorization": self.basic(password or self.computer), **(headers or {})}
            connection.request(method, path if path.startswith("/") else "/dav/" + path, body, sent)
            answer = connection.getresponse()
            answer.body = answer.read()
            return answer
        finally:
            connection.close()

    def basic(self, password):
        return "Basic " + base64.b64encode(f"{self.user}:{password}".encode()).decode()

    def vm_hwm(self):
        """The most memory it ever had resident, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024

    def tail(self):
        self.log.flush()
        return Path(self.log.name).read_text(encoding="utf-8", errors="replace")[-2000:]

    def stop(self):
        """Ends the daemon by its process id; its exit code."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.terminate()
        try:
            code = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        if hasattr(self, "news"):
            self.news.wait(10)
        self.process = None
        return code


class Suite:
    """`with Suite("name", __doc__) as suite:` runs a box, counts checks, cleans up, and exits."""

    def __init__(self, name, about, arguments=()):
        parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
        target = Path(os.environ.get("CARGO_TARGET_DIR", "target"))
        parser.add_argument("--binary", default=str(ROOT / target / "debug" / "shoebox"),
                            help="the shoebox to test (default: %(default)s)")
        parser.add_argument("--keep", action="store_true", help="leave the temporary folder behind and say where")
        for names, options in arguments:
            parser.add_argument(*names, **options)
        self.options = parser.parse_args()
        self.name = name
        self.passed, self.failed = 0, 0
        self.kept = {}  # path below photos/ -> SHA-256 of what was acknowledged
        self.undo = []

    def __enter__(self):
        signal.signal(signal.SIGTERM, interrupted)
        self.work = Path(tempfile.mkdtemp(prefix=f"shoebox-{self.name}-"))
        self.box = Box(self.options.binary, self.work / "box")
        try:
            self.box.start()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, kind, error, trace):
        # What must happen comes first: printing can fail, too.
        said = self.box.tail()
        code = None
        try:
            for step in reversed(self.undo):
                step()
        finally:
            code = self.box.stop()
            self.box.log.close()
            if not self.options.keep:
                shutil.rmtree(self.work, ignore_errors=True)
        if self.options.keep:
            print(f"kept    {self.work}")
        if kind is None:
            self.same("the daemon ends well when told to", code, 0)
        elif issubclass(kind, LeftOut):
            print(f"left out {self.name}: {error}", flush=True)
        elif issubclass(kind, Exception):
            self.failed += 1
            print(f"FAILED  {self.name}: ended early")
            traceback.print_exception(kind, error, trace, file=sys.stdout)
            print("        the daemon said: " + said.replace("\n", "\n        "))
        if kind is not None and not issubclass(kind, Exception):
            return False
        if kind is not None and issubclass(kind, LeftOut):
            sys.exit(LEFT_OUT)
        print(f"{self.name}: {self.passed} passed, {self.failed} failed", flush=True)
        sys.exit(1 if self.failed or not self.passed else 0)

    def check(self, what, holds, detail=""):
        if holds:
            self.passed += 1
            print(f"ok      {self.name}: {what}", flush=True)
        else:
            self.failed += 1
            print(f"FAILED  {self.name}: {what}" + (f"\n        {detail}" if detail else ""), flush=True)
        return bool(holds)

    def same(self, what, got, expected):
        return self.check(what, got == expected, f"expected {expected!r}, got {got!r}")

    def run(self, *command, check=True, timeout=300, **options):
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                              errors="replace", timeout=timeout, **options)
        if check and done.returncode != 0:
            raise RuntimeError(f"{command[0]}: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done

    def needs(self, *programs):
        for program in programs:
            if shutil.which(program) is None:
                raise LeftOut(f"{program} is not installed")

    def acknowledged(self, path, digest):
        """Notes that `path` (below photos/) was acknowledged with this content."""
        self.kept[path] = digest

    def renamed(self, old, new):
        self.kept[new] = self.kept.pop(old)

    def settle(self, only=True):
        """The end of every suite: what was acknowledged is on both drives and proved. `only`: and nothing else."""
        self.check("there is something to look for on drive B", self.kept)
        late = {}
        until = time.monotonic() + SETTLING
        while time.monotonic() < until:
            late = {path: why for path in self.kept if (why := self.not_proved(path))}
            if not late:
                break
            time.sleep(0.5)
        shown = "\n        ".join(f"{path}: {why}" for path, why in list(late.items())[:10])
        self.check(f"{len(self.kept)} acknowledged files are on both drives with the same SHA-256, "
                   "and their receipts say so", not late, shown)
        if only:
            expected = {on_disk(path) for path in self.kept}
            for drive in (self.box.a, self.box.b):
                photos = drive / "photos"
                there = {str(f.relative_to(photos)) for f in photos.rglob("*") if not f.is_dir()}
                self.same(f"drive {drive.name} holds these files and no others", sorted(there ^ expected), [])

    def not_proved(self, path):
        """Why `path` is not proved on both drives; empty if it is."""
        for drive in (self.box.a, self.box.b):
            file = drive / "photos" / on_disk(path)
            if not file.is_file():
                return f"not on drive {drive.name}"
            if sha256(file) != self.kept[path]:
                return f"other bytes on drive {drive.name}"
        receipt = self.box.receipt(path)
        if receipt is None:
            return "no receipt"
        states = [copy["state"] for copy in receipt["copies"] if copy["role"] == "mirror"]
        if states != ["verified"]:
            return f"the receipt shows the mirror copy as {states}"
        if receipt["sha256"] not in (None, self.kept[path]):
            return f"the receipt names another SHA-256: {receipt['sha256']}"
        return ""
