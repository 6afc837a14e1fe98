# A Debian with systemd as its first process, in a container, and the home's network around it: for the tests of what is installed.
"""Shared by the tests here that need no kernel of their own. Python's standard library, mmdebstrap and systemd-nspawn.

The tree of Debian is made once and kept below $XDG_CACHE_HOME (or ~/.cache), by a key of what is in it; a container works on a layer above
it, in memory. All mounts are made in a namespace that ends with the test (`alone`). Nothing here knows a mirror: it takes the one that this
machine's apt has for Debian, or $DEBIAN_MIRROR."""

import argparse
import hashlib
import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
LEFT_OUT = 77  # the exit code of a test that cannot be made on this machine
SUITE = "trixie"
# What a box has of Debian that can be tried without a kernel of its own.
SYSTEM = ["avahi-daemon", "dbus", "e2fsprogs", "mount", "systemd", "systemd-sysv", "tzdata", "udev"]
BOOT_SECONDS = 300
ADDRESS, POINTER = 1, 12  # types of records (RFC 1035, 3.2.2)
# Asks by multicast for a name, as RFC 6762, 6.7 lets a client do that knows nothing of it, and prints the answer.
MDNS = r"""
import socket, struct, sys
own, name, kind = sys.argv[1:]
asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
asker.settimeout(2)
asker.bind((own, 0))
labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
asker.sendto(struct.pack(">6H", 1, 0, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", int(kind), 1), ("224.0.0.251", 5353))
print(asker.recv(4096).hex())
"""


class Impossible(Exception):
    """The container cannot be made on this machine, and why."""


def alone():
    """Runs this program once more, in a mount namespace of its own."""
    if os.environ.get("SHOEBOX_ALONE") != "yes":
        os.environ["SHOEBOX_ALONE"] = "yes"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", "--", sys.executable, *sys.argv])


def needs(*programs):
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        raise Impossible("not installed: " + ", ".join(missing))
    if os.geteuid() != 0:
        raise Impossible("a container needs root")


def mirror():
    """Where this machine's apt gets Debian from."""
    if os.environ.get("DEBIAN_MIRROR"):
        return os.environ["DEBIAN_MIRROR"]
    said = subprocess.run(["apt-get", "indextargets", "--format", "$(ORIGIN)|$(CODENAME)|$(REPO_URI)"], capture_output=True,
                          text=True, check=False)
    for line in said.stdout.splitlines():
        origin, codename, uri = line.split("|", 2)
        if origin == "Debian" and "-" not in codename:
            return uri
    raise Impossible("apt here has no source of Debian; name one in DEBIAN_MIRROR")


def debian(packages):
    """A tree of Debian with these packages, made where there is none yet."""
    arguments = ["--variant=apt", "--mode=root", "--aptopt=APT::Install-Recommends \"false\"",
                 "--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/share/man/*",
                 "--include=" + ",".join(sorted(packages))]
    key = hashlib.sha256("\n".join([SUITE, *arguments]).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "shoebox" / "appliance"
    tree = cache / f"{SUITE}-{key}"
    if tree.is_dir():
        return tree
    cache.mkdir(parents=True, exist_ok=True)
    # Beside its place, so that a name is there when all of it is.
    with tempfile.TemporaryDirectory(dir=cache) as beside:
        began = time.monotonic()
        made = subprocess.run(["mmdebstrap", *arguments, SUITE, f"{beside}/tree", f"deb {mirror()} {SUITE} main"],
                              capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise Impossible("no tree of Debian: " + made.stderr.strip()[-500:])
        print(f"a tree of Debian {SUITE} with {', '.join(packages)}: {time.monotonic() - began:.0f} s", flush=True)
        try:
            os.rename(f"{beside}/tree", tree)
        except OSError:
            if not tree.is_dir():  # another test was faster
                raise
    return tree


def inside(pid, kinds, *command):
    """What runs a command in namespaces of another process."""
    return ["nsenter", "-t", str(pid), *(f"-{kind}" for kind in kinds), "--", *map(str, command)]


class Home:
    """The network of a home: a place for the box and one for a phone, with a cable between them."""

    BOX = "10.77.5.1"
    PHONE = "10.77.5.2"

    def __init__(self):
        self.holders = [subprocess.Popen(["unshare", "--net", "sleep", "infinity"]) for _ in range(2)]
        self.box, self.phone = (holder.pid for holder in self.holders)
        own = os.readlink("/proc/self/ns/net")
        deadline = time.monotonic() + 20
        while any(os.readlink(f"/proc/{pid}/ns/net") == own for pid in (self.box, self.phone)):
            if any(holder.poll() is not None for holder in self.holders) or time.monotonic() > deadline:
                self.end()
                raise Impossible("no network namespace can be made")
            time.sleep(0.05)
        try:
            self.cable()
        except BaseException:
            self.end()
            raise

    def cable(self):
        """Plugs it in. Both places last as long as their holders, through every boot of the box."""
        made = subprocess.run(inside(self.box, "n", "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", self.phone),
                              capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise Impossible("no cable between namespaces: " + made.stderr.strip())
        for pid, address in ((self.box, self.BOX), (self.phone, self.PHONE)):
            for words in (["link", "set", "lo", "up"], ["link", "set", "eth0", "up", "multicast", "on"],
                          ["address", "add", f"{address}/24", "dev", "eth0"], ["route", "add", "224.0.0.0/4", "dev", "eth0"]):
                subprocess.run(inside(pid, "n", "ip", *words), check=True)

    def on_phone(self, *command, **how):
        return subprocess.run(inside(self.phone, "n", *command), capture_output=True, text=True, check=False, timeout=120, **how)

    def ask_names(self, name, kind):
        """What the phone hears when it asks for a name: the whole answer, or nothing."""
        done = self.on_phone(sys.executable, "-c", MDNS, self.PHONE, name, str(kind))
        return bytes.fromhex(done.stdout) if done.returncode == 0 else b""

    def end(self):
        for holder in self.holders:
            holder.kill()
            holder.wait()


class Container:
    """One boot after another of a layer above a tree of Debian, or above others' layers (`below`)."""

    def __init__(self, tree, work, home, name="shoebox"):
        self.home, self.name = home, name
        layer = Path(work) / name
        self.root, self.log = layer / "root", Path(work) / f"{name}.log"
        self.trees = f"{layer}/upper:{tree}"
        layer.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "none", layer], check=True)
        for part in ("root", "upper", "own"):
            (layer / part).mkdir()
        made = subprocess.run(["mount", "-t", "overlay", "overlay", "-o",
                               f"lowerdir={tree},upperdir={layer}/upper,workdir={layer}/own", self.root],
                              capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise Impossible("no overlay filesystem: " + made.stderr.strip())
        # The tree has this machine's, which its first process takes.
        (self.root / "etc/hostname").write_text("shoebox\n")
        self.first = self.process = None

    def install(self, package):
        """As it is done where an image is made: systemd does not run."""
        shutil.copyfile(package, self.root / "root/shoebox.deb")
        return subprocess.run(["chroot", self.root, "dpkg", "-i", "/root/shoebox.deb"], capture_output=True, text=True, check=False,
                              env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"})

    def below(self):
        """What it is now, for others to lie above. It is not started any more."""
        subprocess.run(["umount", self.root], check=True)
        return self.trees

    def boot(self):
        """Starts it; returns after how many seconds its first process answered, and how the system is."""
        began = time.monotonic()
        # It wants a terminal; without one nothing is seen and it hangs.
        master, slave = pty.openpty()
        self.process = subprocess.Popen(
            ["systemd-nspawn", "--quiet", "-D", self.root, f"--machine={self.name}", "--register=no", "--keep-unit",
             "--link-journal=no", "--resolv-conf=off", "--timezone=off", f"--network-namespace-path=/proc/{self.home.box}/ns/net", "--boot"],
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            env=dict(os.environ, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY="1"))
        os.close(slave)
        threading.Thread(target=self.listen, args=(master,), daemon=True).start()
        while True:
            self.first = self.first or self.find_first()
            if self.first:
                said = self.ask("systemctl", "is-system-running", "--wait", timeout=BOOT_SECONDS)
                state = said.stdout.strip()
                if state in ("running", "degraded"):
                    return time.monotonic() - began, state
            if self.process.poll() is not None:
                raise Impossible("systemd-nspawn ended: " + self.log.read_text(errors="replace").strip()[-500:])
            if time.monotonic() - began > BOOT_SECONDS:
                raise RuntimeError("it does not start:\n" + self.log.read_text(errors="replace")[-3000:])
            time.sleep(0.1)

    def listen(self, master):
        with open(self.log, "ab", buffering=0) as log:
            while True:
                try:
                    said = os.read(master, 4096)
                except OSError:  # the other end is closed
                    said = b""
                if not said:
                    os.close(master)
                    return
                log.write(said)

    def find_first(self):
        """The process that is number 1 in there."""
        open_pids = [self.process.pid]
        while open_pids:
            pid = open_pids.pop()
            try:
                status = Path(f"/proc/{pid}/status").read_text()
                open_pids.extend(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
            except OSError:
                continue
            numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
            if len(numbers) > 1 and numbers[-1] == "1" and status.startswith("Name:\tsystemd\n"):
                return pid
        return None

    def ask(self, *command, timeout=120, **how):
        """Runs a command in there."""
        return subprocess.run(inside(self.first, "muipnC", *command), capture_output=True, text=True, check=False, timeout=timeout,
                              env={"PATH": "/usr/sbin:/usr/bin", "LC_ALL": "C.UTF-8", "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive"}, **how)

    def run(self, *command, **how):
        """The same, and it has to succeed. What it said."""
        done = self.ask(*command, **how)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, command))}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def unit(self, name, *properties):
        """Properties of a unit, in this order."""
        said = dict(line.split("=", 1) for line in self.run("systemctl", "show", name, *(f"-p{p}" for p in properties)).splitlines() if "=" in line)
        return [said.get(p, "") for p in properties]

    def take(self, file, to):
        """Puts a file of this machine into it."""
        # Through the process: what is mounted in there is not seen from here.
        shutil.copyfile(file, f"/proc/{self.first}/root{to}")

    def plug(self, device, node):
        """Makes a block device of this machine known in there."""
        number = os.stat(device).st_rdev
        self.run("mknod", node, "b", str(os.major(number)), str(os.minor(number)))

    def power_off(self):
        if self.process is None or self.process.poll() is not None:
            return
        if self.first:
            self.ask("systemctl", "poweroff")
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
        self.first = self.process = None

    def kill(self):
        if self.process is None:
            return
        for pid in filter(None, (self.first, self.process.pid)):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        self.first = self.process = None


def package(binaries, version, to):
    """Makes the package of these programs. Its file."""
    file = Path(to) / f"shoebox_{version}.deb"
    made = subprocess.run([ROOT / "scripts/package", "--binary-dir", binaries, "--version", version, "--fast", "--output", file],
                          capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise RuntimeError("scripts/package: " + made.stderr[-2000:])
    return file


class Checks:
    """What held and what did not, a line each."""

    def __init__(self, name):
        self.name, self.passed, self.failed, self.began = name, 0, 0, time.monotonic()

    def check(self, what, held, seen=""):
        if held:
            self.passed += 1
            print(f"ok      {what}", flush=True)
        else:
            self.failed += 1
            print(f"FAILED  {what}\n        {str(seen)[-3000:]}", flush=True)
        return held

    def same(self, what, seen, wanted):
        return self.check(what, seen == wanted, f"{seen!r}, not {wanted!r}")

    def until(self, what, look, holds, seconds=120):
        """Waits for a condition. What was seen last."""
        deadline = time.monotonic() + seconds
        seen = look()
        while not holds(seen) and time.monotonic() < deadline:
            time.sleep(0.2)
            seen = look()
        self.check(what, holds(seen), seen)
        return seen

    def verdict(self):
        """The last line, and the exit code."""
        print(f"{self.name}: {self.passed} passed, {self.failed} failed, {time.monotonic() - self.began:.0f} s")
        return 1 if self.failed or not self.passed else 0


def carry_out(about, trial, programs, built):
    """The whole of a test: its command line, its folder, and how it ended. `trial` makes it of a folder and of where the programs are."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter, usage=argparse.SUPPRESS)
    parser.add_argument("--binary-dir", default=os.path.join(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"), "debug"))
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    alone()
    # Stopped from outside, what was begun is ended as well.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    work = tempfile.mkdtemp(prefix=f"{Path(sys.argv[0]).name}-")
    begun = None
    try:
        needs("mmdebstrap", "systemd-nspawn", "unshare", "nsenter", "ip", "losetup", "mkfs.ext4", *programs)
        missing = [name for name in built if not os.path.exists(os.path.join(options.binary_dir, name))]
        if missing:
            raise Impossible(f"not in {options.binary_dir}: {', '.join(missing)}; cargo build --locked --bins")
        begun = trial(work, options.binary_dir)
        return begun.run()
    except Impossible as why:
        print(why, file=sys.stderr)
        return LEFT_OUT
    except Exception:  # noqa: BLE001 - what a test did not foresee is a failure, with its place
        traceback.print_exc()
        return 1
    finally:
        if begun:
            begun.end()
        if options.keep:
            print(f"kept: {work}", file=sys.stderr)
        else:
            for mounted in sorted(Path(work).glob("*/")):
                subprocess.run(["umount", "--recursive", mounted], check=False, capture_output=True)
            shutil.rmtree(work, ignore_errors=True)
