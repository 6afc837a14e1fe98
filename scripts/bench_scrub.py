# What re-reading a drive costs, and what it costs an upload beside it. Workloads of scripts/bench.
"""The scrub, for scripts/bench."""

import http.client
import mmap
import os
import time
from pathlib import Path

from bench_load import Client, Files, centile, drop, upload, used_by, wait_for_mirror
from bench_servers import GIB, MIB, Drive, Server

# Photos that are due while others are uploaded: more than are re-read meanwhile.
DUE = {"at once": 100, "paced": 200}
# Between two photos, as a phone makes them that looks at each before it sends it.
PAUSE = 1.2


class Scrubs:
    """Workloads; `server`, `drives`, `options` and `work` are those of Bench."""

    def scrub(self, kind, files, _clients):
        server = self.server("shoebox-one")
        try:
            upload(server, files, 4)
            return self.reread(server, kind, files)
        finally:
            server.stop()

    def scrub_slow(self, kind, files, _clients):
        server = Server("shoebox-one", self.work, self.slow_drives()[:1], self.options.binary)
        try:
            upload(server, files, 1)
            return self.reread(server, kind, files)
        finally:
            server.stop()

    def reread(self, server, kind, files):
        """`direct` does nothing but read, past the page cache in pieces of 4 MiB."""
        drive = server.drives[0]
        drive.sync()
        stored = [server.file(server.roots[0], name) for name in files.names]
        drop(stored)
        cpu, moved, began = server.cpu(), drive.moved()[0], time.monotonic()
        if kind == "shoebox-one":
            server.ask("verify")
            burned = server.cpu() - cpu
        elif kind == "direct":
            burned = read_direct(stored)
        else:
            burned = used_by("b3sum", "--num-threads", "1", *stored)
        took = time.monotonic() - began
        return {"CPU s/GiB": burned / (files.total / GIB), "MiB/s": files.total / MIB / took,
                "bytes read": (drive.moved()[0] - moved) / files.total}

    def beside(self, kind, files, _clients):
        return self.upload_beside(self.drives, kind, files, DUE["at once"])

    def beside_slow(self, kind, files, _clients):
        return self.upload_beside(self.slow_drives(), kind, files, DUE["at once"])

    def beside_paced(self, kind, files, _clients):
        """With a pause after each photo, which the scrub must not take for calm."""
        return self.upload_beside(self.slow_drives(), kind, files, DUE["paced"], PAUSE)

    def upload_beside(self, drives, kind, files, due, pause=0):
        """Photos that nobody re-read yet are on both drives, and the clock is a month later: they are due. The upload begins
        before the drives are known to the box, or on a fast disk nothing would be left. Asleep: the same, but all were re-read."""
        due = Files(due, 3 * MIB)
        due.names = [f"due/{name}" for name in due.names]
        server = Server("shoebox", self.work, drives, self.options.binary)
        try:
            make_folder(server, "due")
            upload(server, due, 4)
            wait_for_mirror(server, due)
            self.a_month_later(server)
            first_that_is_taken(server, "early.jpg")
            if kind == "asleep":
                server.ask("verify")
            for drive in drives:
                drive.sync()
            self.a_month_later(server)
            first_that_is_taken(server, "first.jpg")
            a, cpu, began, read = drives[0], server.cpu(), time.monotonic(), drives[0].moved()[0]
            took = upload(server, files, 1, pause)
            seconds, read = time.monotonic() - began, (a.moved()[0] - read) / MIB
            burned = server.cpu() - cpu
            if kind == "asleep" and read >= 1:
                raise RuntimeError(f"{kind}: {read:.1f} MiB of drive A were read in {seconds:.1f} s")
            if kind != "asleep":
                has_waited(a, began)
            return {"ms p50": centile(took, 50), "ms p95": centile(took, 95), "MiB/s": files.total / MIB / (seconds - pause * len(files.names)),
                    "CPU s/GiB": burned / (files.total / GIB), "A: MiB re-read": read}
        finally:
            server.stop()

    def a_month_later(self, server):
        server.end()
        server.start(LD_PRELOAD=str(faketime()), FAKETIME="+31d", FAKETIME_DONT_FAKE_MONOTONIC="1",
                     DONT_FAKE_MONOTONIC="1", NO_FAKE_STAT="1")

    def slow_drives(self):
        """Two, made when they are first asked for."""
        if not self.slow:
            room = 4 * max(DUE.values()) * 3 * MIB + (3 << 30)
            self.slow = [Drive(self.work, name, room, slow=True) for name in ("slow-a", "slow-b")]
        return self.slow


def faketime():
    """Debian's package `faketime`."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        raise RuntimeError("faketime is not installed; see --help")
    return found[0]


def has_waited(drive, began):
    """There was something to re-read all the time: it is read once nobody uploads any more."""
    before, until = drive.moved()[0], time.monotonic() + 60
    while drive.moved()[0] - before < MIB:
        if time.monotonic() > until:
            raise RuntimeError(f"nothing was left to be re-read after {time.monotonic() - began:.0f} s")
        time.sleep(0.1)


def make_folder(server, name):
    Client(server).ask("MKCOL", name, 201)


def first_that_is_taken(server, name):
    """Asks from before the box listens, and until it has its drives."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            return Client(server).ask("PUT", name, 201, os.urandom(3 * MIB))
        except (OSError, RuntimeError, http.client.HTTPException):
            time.sleep(0.005)
    raise RuntimeError("the box takes nothing")


def read_direct(paths):
    """Seconds of user and system time it takes here."""
    before = time.process_time()
    with mmap.mmap(-1, 4 * MIB) as piece:
        for path in paths:
            handle = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
            while os.readv(handle, [piece]) == len(piece):
                pass
            os.close(handle)
    return time.process_time() - before
