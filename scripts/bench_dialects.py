# The workload of scripts/bench that sends the same photos by every protocol the box speaks.
"""Each way a phone's photo can come, for scripts/bench: one request after another on one connection, as the apps do it."""

import base64
import hashlib
import http.client
import json
import time

from bench_servers import MIB, USER

# An app of Nextcloud sends what is larger than this in pieces.
PIECE = 10 * MIB
# And the upload page.
TUS_PIECE = 8 * MIB


class Wire:
    """One connection of one device."""

    def __init__(self, server):
        pair = base64.b64encode(f"{USER}:{server.password}".encode()).decode()
        self.server, self.basic = server, {"Authorization": "Basic " + pair}
        self.wire = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
        self.token = None

    def ask(self, method, target, expect, body=None, **headers):
        self.wire.request(method, target, body, {key.replace("_", "-"): value for key, value in headers.items()})
        answer = self.wire.getresponse()
        said = answer.read()
        if answer.status not in expect:
            raise RuntimeError(f"{method} {target}: {answer.status} {said[:200]!r}")
        return answer, said

    def webdav(self, name, body):
        self.ask("PUT", f"/dav/{name}", (201,), body, **self.basic)

    def inbox(self, name, body):
        self.ask("PUT", f"/inbox/{name}", (201,), body, **self.basic)

    def nextcloud(self, name, body):
        if len(body) <= PIECE:
            self.ask("PUT", f"/remote.php/dav/files/{USER}/{name}", (201,), body, **self.basic)
            return
        upload = f"/remote.php/dav/uploads/{USER}/{name}"
        self.ask("MKCOL", upload, (201,), **self.basic)
        for number, start in enumerate(range(0, len(body), PIECE)):
            self.ask("PUT", f"{upload}/{number:05}", (201,), body[start:start + PIECE], **self.basic)
        whole = {"Destination": f"/remote.php/dav/files/{USER}/{name}", "OC-Total-Length": str(len(body))}
        self.ask("MOVE", f"{upload}/.file", (201,), **whole, **self.basic)

    def tus(self, name, body):
        """As the upload page does it: in the first request what fits into one piece, and larger files in pieces."""
        said = base64.b64encode(name.encode()).decode()
        heads = {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(body)), "Upload-Metadata": f"filename {said}"}
        piece = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream", **self.basic}
        if len(body) <= TUS_PIECE:
            self.ask("POST", "/tus/", (201,), body, **{**heads, **piece})
            return
        answer, _ = self.ask("POST", "/tus/", (201,), b"", **heads, **self.basic)
        for start in range(0, len(body), TUS_PIECE):
            part = body[start:start + TUS_PIECE]
            self.ask("PATCH", answer.headers["Location"], (200, 204), part, Upload_Offset=str(start), **piece)

    def immich(self, name, body):
        edge = "----------shoebox"
        fields = "".join(f'--{edge}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n' for key, value in (
            ("deviceAssetId", name), ("deviceId", "bench"), ("fileCreatedAt", "2026-11-30T12:00:00.000Z"),
            ("fileModifiedAt", "2026-11-30T12:00:00.000Z")))
        head = f'--{edge}\r\nContent-Disposition: form-data; name="assetData"; filename="{name}"\r\nContent-Type: image/jpeg\r\n\r\n'
        form = (fields + head).encode() + body + f"\r\n--{edge}--\r\n".encode()
        heads = {"x-api-key": self.server.password, "Content-Type": f"multipart/form-data; boundary={edge}"}
        self.ask("POST", "/api/assets", (201,), form, **heads)

    def lomorage(self, name, body):
        if self.token is None:
            self.token = self.enter()
        sha1 = hashlib.sha1(body).hexdigest()
        self.ask("HEAD", f"/asset/{sha1}", (404,), Authorization=f"token={self.token}")
        self.ask("POST", f"/asset/{sha1}?ext=jpg&createtime=2026-11-30T12:00:00", (201,), body, Authorization=f"token={self.token}")

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
        server = self.server("shoebox-one")
        try:
            one = Wire(server)
            # Signing in and what is done once is not part of it.
            getattr(one, kind)("first.jpg", b"the first photo of this device")
            self.drives[0].sync()
            cpu, flushes, moved = server.cpu(), self.drives[0].flushes(), self.drives[0].moved()
            began = time.monotonic()
            for name in files.names:
                getattr(one, kind)(name, files.bytes(name))
            answered = time.monotonic()
            burned, flushes = server.cpu() - cpu, self.drives[0].flushes() - flushes
            self.drives[0].sync()
            moved = [now - then for now, then in zip(self.drives[0].moved(), moved)]
            wanted = {hashlib.sha256(files.bytes(name)).digest() for name in files.names}
            for root in server.roots:
                there = {hashlib.sha256(path.read_bytes()).digest() for path in (root / "photos").rglob("*.*") if path.is_file()}
                if not wanted <= there:
                    raise RuntimeError(f"{kind}: {len(wanted - there)} photos are not what was sent")
            mib = files.total / MIB
            return {"MiB/s": mib / (answered - began), "CPU s/GiB": burned * 1024 / mib,
                    "flushes each": flushes / len(files.names),
                    "A read": moved[0] / files.total, "A written": moved[1] / files.total}
        finally:
            server.stop()
