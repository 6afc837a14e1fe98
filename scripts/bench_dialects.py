# The workloads of scripts/bench that speak every protocol of the box: the same photos by each, and what the Sumu app asks before it sends.
"""Each way a phone's photo can come, for scripts/bench: one request after another, on one connection where the app keeps one.

The box is timed, and not what this client would have to do on the same processors: hashes, Base64 and what stands around a file in a
form or in JSON are made before the clock starts. (The apps hash a photo before they offer it, too.) A body is sent in pieces as they
are, put together by nobody."""

import base64
import hashlib
import http.client
import json
import socket
import sqlite3
import statistics
import time
import uuid

from bench_load import Peak
from bench_servers import MIB, USER

# An app of Nextcloud sends what is larger than this in pieces.
PIECE = 10 * MIB
# And the upload page.
TUS_PIECE = 8 * MIB
# Where files differ, a piece of its own: a multiple of three, for Base64.
FIRST = 48 << 10
# When the first photo was taken, milliseconds since 1970.
TAKEN = 1_709_638_424_250
SUMU = """[sumu]
listen = ["127.0.0.1:{port}"{more}]
"""
# What knows photos by their SHA-1 is compared with a PUT that announces it as well.
BY_SHA1 = ("immich", "lomorage")


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Photo:
    """A file in two pieces, of which the second is the same in all."""

    def __init__(self, files, number):
        self.number, self.name = number, files.names[number]
        self.first = self.name.encode() + files.noise[len(self.name):FIRST]
        self.noise, self.rest = files.noise, memoryview(files.noise)[FIRST:]

    @property
    def pieces(self):
        return [self.first, self.rest]

    def __len__(self):
        return len(self.noise)

    def part(self, start, length):
        """Some of it, of which most is the noise that all have."""
        if start >= FIRST:
            return [memoryview(self.noise)[start:start + length]]
        return [self.first[start:start + length], memoryview(self.noise)[FIRST:start + length]]

    def hash(self, which):
        hasher = hashlib.new(which, self.first)
        hasher.update(self.rest)
        return hasher


class Wire:
    """One device. Each method prepares what is sent of a photo, and returns what sends it."""

    def __init__(self, server, sumu=None, link=None):
        self.link, self.sent = link, 0
        pair = base64.b64encode(f"{USER}:{server.password}".encode()).decode()
        self.server, self.basic, self.sumu_port = server, {"Authorization": "Basic " + pair}, sumu
        self.wire = self.connection(server.port)
        self.token, self.encoded, self.word = None, None, None

    def connection(self, port):
        if self.link is None:
            return http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        wire = http.client.HTTPConnection(self.link.address, port, timeout=300)
        connect = wire._create_connection
        wire._create_connection = lambda *told, **more: self.link.from_client(lambda: connect(*told, **more))
        return wire

    def ask(self, method, target, expect, pieces=(), wire=None, **headers):
        wire = wire or self.wire
        length = sum(len(piece) for piece in pieces)
        self.sent += length
        headers = {key.replace("_", "-"): value for key, value in headers.items()}
        if method != "HEAD" and method != "GET":
            headers["Content-Length"] = str(length)
        wire.request(method, target, pieces or None, headers)
        answer = wire.getresponse()
        said = answer.read()
        if answer.status not in expect:
            raise RuntimeError(f"{method} {target}: {answer.status} {said[:200]!r}")
        return answer, said

    def webdav(self, photo):
        return lambda: self.ask("PUT", f"/dav/{photo.name}", (201,), photo.pieces, **self.basic)

    def webdav_sha1(self, photo):
        """As rclone and Nextcloud's desktop app do it."""
        known = {"OC-Checksum": "SHA1:" + photo.hash("sha1").hexdigest()}
        return lambda: self.ask("PUT", f"/dav/{photo.name}", (201,), photo.pieces, **known, **self.basic)

    def inbox(self, photo):
        return lambda: self.ask("PUT", f"/inbox/{photo.name}", (201,), photo.pieces, **self.basic)

    def nextcloud(self, photo):
        if len(photo) <= PIECE:
            return lambda: self.ask("PUT", f"/remote.php/dav/files/{USER}/{photo.name}", (201,), photo.pieces, **self.basic)
        return lambda: self.nextcloud_parts(photo)

    def nextcloud_parts(self, photo):
        upload = f"/remote.php/dav/uploads/{USER}/{photo.name}"
        self.ask("MKCOL", upload, (201,), **self.basic)
        for number, start in enumerate(range(0, len(photo), PIECE)):
            self.ask("PUT", f"{upload}/{number:05}", (201,), photo.part(start, PIECE), **self.basic)
        whole = {"Destination": f"/remote.php/dav/files/{USER}/{photo.name}", "OC-Total-Length": str(len(photo))}
        self.ask("MOVE", f"{upload}/.file", (201,), **whole, **self.basic)

    def tus(self, photo):
        """As the upload page does it: in the first request what fits into one piece, and larger files in pieces."""
        said = base64.b64encode(photo.name.encode()).decode()
        heads = {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(photo)), "Upload-Metadata": f"filename {said}"}
        piece = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream", **self.basic}
        if len(photo) <= TUS_PIECE:
            return lambda: self.ask("POST", "/tus/", (201,), photo.pieces, **{**heads, **piece})
        return lambda: self.tus_parts(photo, heads, piece)

    def tus_parts(self, photo, heads, piece):
        answer, _ = self.ask("POST", "/tus/", (201,), **heads, **self.basic)
        for start in range(0, len(photo), TUS_PIECE):
            part = photo.part(start, TUS_PIECE)
            self.ask("PATCH", answer.headers["Location"], (200, 204), part, Upload_Offset=str(start), **piece)

    def immich(self, photo):
        edge = "----------shoebox"
        fields = "".join(f'--{edge}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n' for key, value in (
            ("deviceAssetId", photo.name), ("deviceId", "bench"), ("fileCreatedAt", "2026-11-30T12:00:00.000Z"),
            ("fileModifiedAt", "2026-11-30T12:00:00.000Z")))
        head = (f'--{edge}\r\nContent-Disposition: form-data; name="assetData"; filename="{photo.name}"\r\n'
                'Content-Type: image/jpeg\r\n\r\n')
        form = [(fields + head).encode(), *photo.pieces, f"\r\n--{edge}--\r\n".encode()]
        heads = {"x-api-key": self.server.password, "Content-Type": f"multipart/form-data; boundary={edge}"}
        return lambda: self.ask("POST", "/api/assets", (201,), form, **heads)

    def lomorage(self, photo):
        if self.token is None:
            self.token = self.enter()
        sha1, token = photo.hash("sha1").hexdigest(), {"Authorization": f"token={self.token}"}

        def send():
            self.ask("HEAD", f"/asset/{sha1}", (404,), **token)
            self.ask("POST", f"/asset/{sha1}?ext=jpg&createtime=2026-11-30T12:00:00", (201,), photo.pieces, **token)
        return send

    def sumu(self, photo):
        """As the app sends a photo that its phone has as HEIC: one part, every slash behind a backslash, each request on a connection of its own."""
        if self.word is None:
            added = json.loads(self.server.ask("device", "add", USER, "sumu", "--app", "sumu", "--json"))
            self.word = added["password"]

            def coded(raw):
                return base64.b64encode(raw).replace(b"/", b"\\/")
            self.coded, self.encoded = coded, coded(photo.rest)
            self.ask("GET", f"/health?p={self.word}", (200,), wire=self.another())
        upload = str(uuid.uuid4()).upper()
        part = [json.dumps({"p": self.word, "d": upload, "o": 1}).encode()[:-1] + b',"i":"' + self.coded(photo.first), self.encoded, b'"}']
        said = {"a": "2024-03", "p": self.word, "u": USER, "t": TAKEN + 1000 * photo.number, "lat": None, "long": None, "f": False,
                "v": False, "d": upload, "n": 1, "l": False, "x": "jpg"}
        kind = {"Content-Type": "application/json"}

        def send():
            self.ask("POST", "/part", (200,), part, wire=self.another(), **kind)
            self.ask("POST", "/save", (200,), [json.dumps(said).encode()], wire=self.another(), **kind)
        return send

    def another(self):
        return self.connection(self.sumu_port)

    def enter(self):
        """The app hashes its password before it signs in."""
        try:
            from argon2.low_level import Type, hash_secret  # noqa: PLC0415
        except ImportError as why:
            raise RuntimeError("lomorage needs argon2-cffi: pip install argon2-cffi, or leave it out by --only") from why
        added = json.loads(self.server.ask("device", "add", USER, "lomo", "--app", "lomorage", "--json"))
        word = hash_secret(added["password"].encode(), f"{USER}@lomorage.lomoware".encode(), time_cost=3, memory_cost=4096,
                           parallelism=1, hash_len=32, type=Type.ID).hex() + "00"
        pair = base64.b64encode(f"{USER}:{word}:5F0C1A2B".encode()).decode()
        _, said = self.ask("GET", "/login", (200,), Authorization=f"Basic {pair}")
        return json.loads(said)["Token"]


class Dialects:
    """Mixed into Bench."""

    def dialects(self, kind, files, _clients):
        port, link = free_port(), self.link
        also = f', "{link.address}:{port}"' if link else ""
        server = self.server("shoebox-one", more=SUMU.format(port=port, more=also) if kind == "sumu" else "")
        try:
            one, photos = Wire(server, port, link), [Photo(files, number) for number in range(len(files.names))]
            kind = kind.replace("-", "_")
            prepare = getattr(one, kind)
            sends = [prepare(photo) for photo in photos]
            # What is done once (a folder, a month, the first row of each table) is not part of it.
            self.first(server, files, one, kind)
            self.drives[0].sync()
            one.sent = 0
            cpu, flushes, moved = server.cpu(), self.drives[0].flushes(), self.drives[0].moved()
            began = time.monotonic()
            for send in sends:
                send()
            answered = time.monotonic()
            burned, flushes = server.cpu() - cpu, self.drives[0].flushes() - flushes
            self.drives[0].sync()
            moved = [now - then for now, then in zip(self.drives[0].moved(), moved)]
            wanted = {photo.hash("sha256").digest() for photo in photos}
            for root in server.roots:
                there = {hashlib.sha256(path.read_bytes()).digest() for path in (root / "photos").rglob("*.*") if path.is_file()}
                if not wanted <= there:
                    raise RuntimeError(f"{kind}: {len(wanted - there)} photos are not what was sent")
            mib = files.total / MIB
            return {"MiB/s": mib / (answered - began), "MiB/s of wire": one.sent / MIB / (answered - began), "CPU s/GiB": burned * 1024 / mib,
                    "flushes each": flushes / len(files.names),
                    "A read": moved[0] / files.total, "A written": moved[1] / files.total}
        finally:
            server.stop()

    def first(self, server, files, one, kind):
        """A photo before the ones that count."""
        class First(Photo):
            def __init__(self):
                super().__init__(files, 0)
                self.number, self.name = len(files.names), "first.jpg"
                self.first = b"the first photo" + self.first[15:]

        getattr(one, kind)(First())()

    def timestamps(self, _kind, files, _clients):
        """What the Sumu app asks before each run, of a phone with so many photos on a box that has them all. What that phone calls them is put
        into the catalogue of a box that was killed, which looks at all of it when it starts: sending them would take an hour."""
        count, port = len(files.names), free_port()
        self.box = self.box or self.known(count, distinct=True, more=SUMU.format(port=port, more=""))
        if not hasattr(self.box, "sumu"):
            added = json.loads(self.box.ask("device", "add", USER, "sumu", "--app", "sumu", "--json"))
            self.box.sumu = (port, added["password"])
            self.box.process.kill()
            self.box.process.wait()
            catalogue = sqlite3.connect(self.box.roots[0] / ".shoebox/catalogue.db")
            with catalogue:
                catalogue.execute("INSERT INTO client_key (device, key, hash) SELECT ?1, 'sumu ' || (?2 + 1000 * id), hash FROM name "
                                  "WHERE hash IS NOT NULL", (f"{USER}/sumu", TAKEN))
            catalogue.close()
            self.box.start()
            self.box.wait_until_up()
        port, password = self.box.sumu

        def ask():
            """How many are there; `None` while the box opens its drives."""
            wire = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
            wire.request("GET", f"/timestamps?p={password}&u={USER}")
            answer = wire.getresponse()
            here = json.loads(answer.read())
            return sum(value is True for value in here.values()) if answer.status == 200 else None

        until, took = time.monotonic() + 300, []
        while ask() is None and time.monotonic() < until:
            time.sleep(0.2)
        before, cpu, peak = self.box.memory(), self.box.cpu(), Peak(self.box.memory)
        try:
            for _ in range(10):
                began, here = time.monotonic(), ask()
                took.append((time.monotonic() - began) * 1000)
                if here != count:
                    raise RuntimeError(f"{here} of {count} photos are called here")
        finally:
            most = peak.end()
        return {"ms": statistics.median(took), "ms at most": max(took), "CPU ms each": (self.box.cpu() - cpu) * 1000 / len(took),
                "MiB more": max(most - before, 0), "PSS MiB": most}
