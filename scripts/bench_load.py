# What the workloads of scripts/bench have in common: files, clients, waiting for the mirror, looking at memory and time.
"""Files, clients and measures for scripts/bench."""

import base64
import concurrent.futures
import http.client
import os
import resource
import threading
import time

from bench_servers import MIB, USER, run


class Files:
    """Files that cannot be compressed and are all different."""

    def __init__(self, count, size):
        self.noise = os.urandom(size)
        self.names = [f"IMG_{number:05}.jpg" for number in range(count)]

    @property
    def total(self):
        return len(self.names) * len(self.noise)

    def bytes(self, name):
        return name.encode() + self.noise[len(name):] if self.noise else b""


class Client:
    """One connection."""

    def __init__(self, server):
        self.server = server
        self.headers = {"Authorization": "Basic " + base64.b64encode(f"{USER}:{server.password}".encode()).decode()}
        self.wire = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)

    def ask(self, method, name, expect, body=None, **headers):
        self.wire.request(method, self.server.prefix + name, body, {**self.headers, **headers})
        answer = self.wire.getresponse()
        said = answer.read()
        if answer.status != expect:
            raise RuntimeError(f"{self.server.kind}: {method} {name}: {answer.status}")
        return said

    def first_byte(self, method, name, expect, body=None, **headers):
        """Milliseconds until the first byte of what is answered."""
        began = time.monotonic()
        self.wire.request(method, self.server.prefix + name, body, {**self.headers, **headers})
        answer = self.wire.getresponse()
        answer.read(1)
        took = time.monotonic() - began
        answer.read()
        if answer.status != expect:
            raise RuntimeError(f"{self.server.kind}: {method} {name}: {answer.status}")
        return took * 1000


def upload(server, files, clients, pause=0):
    """All files by so many clients, each on one connection, with so many seconds after each file. How many milliseconds each took."""
    def client(number):
        one, took = Client(server), []
        for name in files.names[number::clients]:
            body, began = files.bytes(name), time.monotonic()
            one.ask("PUT", name, 201, body)
            took.append((time.monotonic() - began) * 1000)
            time.sleep(pause)
        one.wire.close()
        return took

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        return [milliseconds for took in pool.map(client, range(clients)) for milliseconds in took]


def wait_for_mirror(server, files):
    mirrored = server.file(server.roots[1], files.names[0]).parent
    until = time.monotonic() + 600
    while not mirrored.is_dir() or len(os.listdir(mirrored)) < len(files.names):
        if time.monotonic() > until:
            raise RuntimeError("drive B did not get everything within ten minutes")
        time.sleep(0.05)
    time.sleep(0.5)


def compare(server, files):
    """What was acknowledged is there, byte for byte."""
    for root in server.roots:
        for name in files.names:
            if server.file(root, name).read_bytes() != files.bytes(name):
                raise RuntimeError(f"{server.kind}: {name} is not what was sent")


def wait_for_record(server, files):
    """Until drive B's record has every file: each was read back and has its name by then."""
    months, until = server.roots[1] / ".shoebox/manifest", time.monotonic() + 600
    while sum(month.read_bytes().count(b'"stored"') for month in months.glob("*.jsonl")) < len(files.names):
        if time.monotonic() > until:
            raise RuntimeError("drive B did not get everything within ten minutes")
        time.sleep(0.02)


def centile(values, percent):
    """The least that so many percent of them do not exceed."""
    return sorted(values)[max(-(-len(values) * percent // 100), 1) - 1]


class Peak:
    """The most memory a server had while it was looked at, every 20 ms."""

    def __init__(self, memory_now):
        self.memory_now, self.most, self.over = memory_now, 0, threading.Event()
        self.thread = threading.Thread(target=self.look)
        self.thread.start()

    def look(self):
        while not self.over.wait(0.02):
            self.most = max(self.most, self.memory_now())

    def end(self):
        self.over.set()
        self.thread.join()
        return self.most


def drop(paths):
    """Files leave the page cache."""
    for path in paths:
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def used_by(*command):
    """Seconds of user and system time of a program."""
    before = children_used()
    run(*command)
    return children_used() - before


def children_used():
    """Seconds of user and system time of all programs that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
