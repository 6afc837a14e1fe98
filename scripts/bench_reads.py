# What Shoebox costs where nothing is written: listings, probes, whole files, ranges. Workloads of scripts/bench.
"""Reading, for scripts/bench."""

import random
import socket
import statistics
import time

from bench_load import Client, Files, Peak, centile, upload
from bench_servers import GIB

PROPS = (b'<?xml version="1.0"?><D:propfind xmlns:D="DAV:"><D:prop><D:getcontentlength/><D:getlastmodified/>'
         b"<D:resourcetype/><D:getetag/></D:prop></D:propfind>")
RANGE = 64 << 10


class Reads:
    """Workloads; `server` and `options` are those of Bench."""

    def listing(self, kind, _files, _clients):
        files, asked = Files(self.options.entries, 64), 5
        server = self.server(kind)
        try:
            if not kind.startswith("shoebox"):
                for name in files.names:
                    server.file(server.roots[0], name).write_bytes(files.bytes(name))
            else:
                upload(server, files, 8)
            one = Client(server)
            one.ask("PROPFIND", "", 207, PROPS, Depth="1")
            before, cpu, peak = server.memory(), server.cpu(), Peak(server.memory)
            for _ in range(asked):
                said = one.ask("PROPFIND", "", 207, PROPS, Depth="1")
            burned, more = server.cpu() - cpu, max(peak.end() - before, 0)
            if said.count(b"response>") < 2 * len(files.names):
                raise RuntimeError(f"{kind}: the listing is not whole")
            first = [one.first_byte("PROPFIND", "", 207, PROPS, Depth="1") for _ in range(asked)]
            return {"CPU ms each": burned * 1000 / asked, "MiB more": more, "ms to first byte": statistics.median(first)}
        finally:
            server.stop()

    def names(self, kind, files, _clients):
        asked = 4000
        server = self.server(kind)
        try:
            upload(server, files, 1)
            one, costs = Client(server), {}
            there = files.names[0]
            for what, ask in (("HEAD", ("HEAD", there, 200)), ("missing", ("HEAD", "nothing.jpg", 404)),
                              ("PROPFIND 0", ("PROPFIND", there, 207, PROPS))):
                cpu = server.cpu()
                for _ in range(asked):
                    one.ask(*ask, Depth="0")
                costs[f"CPU ms {what}"] = (server.cpu() - cpu) * 1000 / asked
            return costs
        finally:
            server.stop()

    def get(self, kind, files, _clients):
        server = self.server(kind)
        try:
            upload(server, files, 1)
            one, cpu, took = Client(server), server.cpu(), 0
            for name in files.names:
                began = time.monotonic()
                said = one.ask("GET", name, 200)
                took += time.monotonic() - began
                if said != files.bytes(name):
                    raise RuntimeError(f"{kind}: GET {name} gives other bytes")
            return {"CPU s/GiB": (server.cpu() - cpu) / (files.total / GIB), "MiB/s": files.total / (1 << 20) / took}
        finally:
            server.stop()

    def ranges(self, kind, files, _clients):
        """Pieces of 64 KiB from anywhere in a video that is in memory, one after the other on one connection."""
        asked, luck = 4000, random.Random(64)
        server = self.server(kind)
        try:
            upload(server, files, 1)
            name = files.names[0]
            whole, one, took = files.bytes(name), Ranges(server, name), []
            for start in (luck.randrange(0, len(whole) - RANGE) for _ in range(200)):
                if one.ask(start) != whole[start:start + RANGE]:
                    raise RuntimeError(f"{kind}: the bytes from {start} on are others")
            cpu = server.cpu()
            for start in [luck.randrange(0, len(whole) - RANGE) for _ in range(asked)]:
                began = time.monotonic()
                one.ask(start)
                took.append((time.monotonic() - began) * 1000)
            one.wire.close()
            return {"CPU ms each": (server.cpu() - cpu) * 1000 / asked, "p50 ms": centile(took, 50), "p99 ms": centile(took, 99)}
        finally:
            server.stop()


class Ranges:
    """A client that costs little itself: what it waits for is the server."""

    def __init__(self, server, name):
        self.kind, head = server.kind, Client(server).headers
        self.wire = socket.create_connection(("127.0.0.1", server.port), 60)
        self.wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request = (f"GET {server.prefix}{name} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
                        + "".join(f"{key}: {value}\r\n" for key, value in head.items()) + "Range: bytes=").encode()
        self.answer = bytearray(RANGE + 4096)

    def ask(self, start):
        self.wire.sendall(self.request + b"%d-%d\r\n\r\n" % (start, start + RANGE - 1))
        view, got, body = memoryview(self.answer), 0, -1
        while body < 0 or got < body + RANGE:
            more = self.wire.recv_into(view[got:])
            if more == 0:
                raise RuntimeError(f"{self.kind} hangs up after {bytes(self.answer[:min(got, 400)])}")
            got += more
            if body < 0:
                end = self.answer.find(b"\r\n\r\n", 0, got)
                body = end + 4 if end >= 0 else -1
        if not self.answer.startswith(b"HTTP/1.1 206") or got != body + RANGE:
            raise RuntimeError(f"{self.kind}: {bytes(self.answer[:60])}")
        return view[body:got]
