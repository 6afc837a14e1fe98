# A family's use of a box in a machine: two drives made its own, a person with a phone, photos, and what became of them.
"""Shared by the tests in this folder."""
import base64
import hashlib
import http.client
import json
import random

from guest import Wrong

PLACES = {"a": "primary", "b": "mirror"}


class Household:
    """What one box was told and given, so that it can be asked for again."""

    def __init__(self, machine, seed):
        self.machine, self.random = machine, random.Random(seed)
        self.held, self.authorization = {}, ""

    # --- drives

    def adopt(self, names=("left", "right")):
        """Makes two plugged drives the box's, as root of the box would: prepared by shoebox-drive, adopted by the daemon."""
        for name, (place, role) in zip(names, PLACES.items()):
            device = self.machine.until(f"{name} is there", lambda name=name: self.machine.device(name))
            self.machine.until(f"{name} was looked at", lambda device=device: self.machine.run(f"test -s /run/shoebox-drive/{device}")[0] == 0
                               or self.machine.run(f"ls /run/shoebox-drive | grep -q {device}")[0] == 0)
            self.machine.must("/usr/libexec/shoebox-drive answer", feed=json.dumps({"ask": "prepare", "device": device}).encode() + b"\n")
            self.machine.until(f"{name} is mounted", lambda place=place: self.mounted(place))
            self.machine.must(f"shoebox drive adopt /srv/shoebox/{place} --role {role}")
        self.until_ready()

    def mounted(self, place):
        return self.machine.run(f"mountpoint -q /srv/shoebox/{place}")[0] == 0

    def standings(self):
        said = self.machine.run("shoebox drive list --json")[1]
        try:
            return {drive.get("role"): drive["standing"]["standing"] for drive in json.loads(said)}
        except (ValueError, KeyError, TypeError):
            return {}

    def until_ready(self, roles=("primary", "mirror")):
        self.machine.until(f"{' and '.join(roles)} ready", lambda: all(self.standings().get(role) == "ready" for role in roles),
                           hint=lambda: self.machine.run("shoebox drive list; findmnt; journalctl -b -u 'shoebox*' -n 40")[1])

    # --- photos

    def move_in(self, person="anna", known=False):
        """A person with a device; `known`: somebody else adds the person."""
        if known:
            self.machine.until(f"{person} is there", lambda: f'"{person}"' in self.machine.run("shoebox person list --json")[1], 400,
                               hint=lambda: self.machine.run("journalctl -b -u 'shoebox-firstboot*' -n 30")[1])
        else:
            self.machine.must(f"shoebox person add {person}")
        made = json.loads(self.machine.must(f"shoebox device add {person} phone --kind computer --json"))
        self.authorization = "Basic " + base64.b64encode(f"{made['user']}:{made['password']}".encode()).decode()

    def ask(self, method, name, body=None, headers=None, limit=120):
        connection = http.client.HTTPConnection("127.0.0.1", self.machine.port(80), timeout=limit)
        try:
            connection.request(method, "/dav/" + name, body, {"Authorization": self.authorization, **(headers or {})})
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    def put(self, name, size):
        """A photo is sent and acknowledged."""
        body = self.random.randbytes(size)
        status, said = self.ask("PUT", name, body)
        if status not in (200, 201, 204):
            raise Wrong(f"PUT {name}: {status} {said[:200]!r}")
        self.held[name] = body

    def try_to_put(self, name, size, limit=60):
        """Whether it was acknowledged. What was not may be there or not."""
        body = self.random.randbytes(size)
        try:
            status, _ = self.ask("PUT", name, body, limit=limit)
        except (OSError, http.client.HTTPException):
            return False
        if status in (200, 201, 204):
            self.held[name] = body
            return True
        return False

    def served(self):
        """Everything acknowledged is served, equal."""
        for name, body in self.held.items():
            status, said = self.ask("GET", name)
            if status != 200 or said != body:
                raise Wrong(f"GET {name}: {status}, {'equal' if said == body else f'{len(said)} bytes instead of {len(body)}'}")

    def sums(self, place):
        """The sums of the photos on a drive, however they are called there."""
        said = self.machine.run(f"find /srv/shoebox/{place}/photos -type f -exec sha256sum {{}} +", 600)[1]
        return {line.split()[0] for line in said.splitlines() if len(line.split()) >= 2}

    def until_mirrored(self, limit=600):
        wanted = {hashlib.sha256(body).hexdigest() for body in self.held.values()}
        self.machine.until("everything is on both drives", lambda: wanted <= self.sums("a") and wanted <= self.sums("b"), limit,
                           hint=lambda: f"missing on a {len(wanted - self.sums('a'))}, on b {len(wanted - self.sums('b'))}")

    def until_verified(self, name, limit=300):
        """Its receipt says that its copy was read back and found equal."""
        path = self.machine.must(f"cd /srv/shoebox/a/photos && find * -name {name}").strip()

        def holds():
            code, said = self.machine.run(f"shoebox receipt {path} --json")
            self.last = f"{path} {said}"
            return code == 0 and [copy["state"] for copy in json.loads(said)["copies"] if copy["role"] == "mirror"] == ["verified"]
        self.last = ""
        self.machine.until(f"{name} is verified", holds, limit, hint=lambda: self.last[-1500:])

    def serves_photos(self):
        """Whether the first photo that it was ever given comes back."""
        name, body = next(iter(self.held.items()))
        try:
            return self.ask("GET", name, limit=20) == (200, body)
        except (OSError, http.client.HTTPException):
            return False


def seed_of(environment):
    seed = int(environment.get("SHOEBOX_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"seed {seed}", flush=True)
    return seed
