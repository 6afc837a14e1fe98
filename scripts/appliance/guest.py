# A machine to try the appliance in: the very card image in QEMU, USB drives that come and go, and power that is cut.
"""Shared by the tests in this folder. Python's standard library only; what else is needed is said by `Impossible`.

    with guest.Machine("amd64") as machine:      # takes a cached image and snapshot, or builds them (image-build/build)
        machine.restore()                        # a machine that has started, in seconds; or machine.boot()
        machine.plug("left", guest.disk(machine.work, "left", "512M"))
        machine.must("systemctl is-active shoebox")
        machine.yank("left")

Environment: SHOEBOX_IMAGE (an image to take as it is), SHOEBOX_DEB (the package in an image that is built), SHOEBOX_BINARIES (or the
folder with the programs in it; default: what cargo or scripts/cross built last), SHOEBOX_CACHE (default: ~/.cache/shoebox).
"""
import base64
import contextlib
import fcntl
import glob
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "scripts", "clients"))
from box import sha256  # noqa: E402
from ports import free_port  # noqa: E402

# Generous: an emulated machine on a busy one.
BOOT = 900
PATIENCE = 180
# As the image's cmdline.txt, but for the console.
ROOT_IS = "root=UUID=5b0eb0c5-0000-4000-8000-000000000001 ro rootwait panic=10 systemd.ssh_auto=no cgroup_enable=memory"
FIRST_PARTITION = "@@4M"
MACHINES = {
    "amd64": ["qemu-system-x86_64", "-M", "q35", "-cpu", "Nehalem"],
    "arm64": ["qemu-system-aarch64", "-M", "virt,gic-version=3", "-cpu", "cortex-a72"],
}
CONSOLES = {"amd64": "ttyS0", "arm64": "ttyAMA0"}
# What a machine offers: SSH, the box, its other port, NFS.
PORTS = (22, 80, 8080, 2049)


class Impossible(Exception):
    """The machine cannot be made here, and why."""


class Wrong(Exception):
    """What should hold does not."""


def tool(name):
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not found:
        raise Impossible(f"no {name}")
    return found


def must_run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        raise Impossible(f"{command[0]}: exit code {done.returncode}: {(done.stderr or done.stdout)[-600:]}")
    return done.stdout


def cache():
    where = os.environ.get("SHOEBOX_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "shoebox")
    os.makedirs(where, exist_ok=True)
    return where


def roomy():
    """Where disks are kept: in memory if there is a lot of it, because a test writes the same gigabyte again and again."""
    with contextlib.suppress(OSError):
        facts = os.statvfs("/dev/shm")
        if facts.f_bavail * facts.f_frsize > 6 << 30 and "TMPDIR" not in os.environ:
            return "/dev/shm"
    return None


# --- the image

def parts(arch):
    """The programs that the package is made of."""
    binaries = os.environ.get("SHOEBOX_BINARIES")
    if not binaries:
        target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
        built = [os.path.join(target, "aarch64-unknown-linux-gnu" if arch == "arm64" else "", kind) for kind in ("release", "debug")]
        # What was built last: a debug daemon hashes as fast as the other (Cargo.toml).
        binaries = max(built, key=lambda where: os.stat(where + "/shoebox").st_mtime if os.path.exists(where + "/shoebox") else 0)
    files = [os.path.join(binaries, name) for name in ("shoebox", "shoebox-drive", "shoebox-card")]
    for path in files:
        if not os.path.exists(path):
            raise Impossible(f"no {path}: cargo build --locked --release --bins, or scripts/cross for arm64")
    return binaries, files


def package(arch, where):
    """Our package, made of programs that were built."""
    given = os.environ.get("SHOEBOX_DEB")
    if given:
        return given
    must_run(os.path.join(ROOT, "scripts", "package"), "--arch", arch, "--binary-dir", parts(arch)[0], "--fast", "--output", where)
    return where


def image(arch):
    """The image of these sources; built if nobody has yet."""
    given = os.environ.get("SHOEBOX_IMAGE")
    if given:
        return given
    deb = os.environ.get("SHOEBOX_DEB")
    files = [deb] if deb else parts(arch)[1]
    for top in ("image-build", "systemd", "udev", "daemon/debian"):
        files += sorted(path for path in glob.glob(os.path.join(ROOT, top, "**"), recursive=True) if os.path.isfile(path))
    key = hashlib.sha256(f"{arch} {time.strftime('%G-%V')}".encode())
    for path in files:
        key.update(sha256(path).encode())
    name = os.path.join(cache(), f"card-{arch}-{key.hexdigest()[:16]}.img")
    with open(os.path.join(cache(), f"card-{arch}.lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(name):
            for old in glob.glob(os.path.join(cache(), f"card-{arch}-*")):
                # Another test may be using one of today.
                if os.stat(old).st_mtime < time.time() - 86_400:
                    shutil.rmtree(old) if os.path.isdir(old) else os.unlink(old)
            built = subprocess.run([os.path.join(ROOT, "image-build", "build"), "--arch", arch,
                                    "--deb", package(arch, os.path.join(cache(), f"shoebox-{arch}.deb")), "--out", name + ".part"], check=False)
            if built.returncode != 0:
                raise Impossible("image-build/build: no image")
            os.rename(name + ".part.packages", name + ".packages")
            os.rename(name + ".part", name)
    return name


def disk(folder, name, size="512M", filesystem="ext4", label=None):
    """A drive's content, as a sparse file, with a filesystem on the whole disk; none for `filesystem=None`."""
    path = os.path.join(folder, name + ".disk")
    with open(path, "wb"):
        pass
    must_run("truncate", "-s", size, path)
    label = label or name.upper()
    if filesystem == "ext4":
        must_run(tool("mkfs.ext4"), "-q", "-F", "-L", label, "-E", "lazy_itable_init=0,lazy_journal_init=0", path)
    elif filesystem == "exfat":
        must_run(tool("mkfs.exfat"), "-L", label, path)
    elif filesystem == "vfat":
        must_run(tool("mkfs.vfat"), "-F", "32", "-n", label, path)
    elif filesystem is not None:
        raise ValueError(filesystem)
    return path


# --- the machine

class Monitor:
    """QEMU's own line (QMP)."""

    def __init__(self, path):
        self.line = socket.socket(socket.AF_UNIX)
        self.line.settimeout(PATIENCE)
        self.line.connect(path)
        self.file = self.line.makefile("rw", encoding="utf-8")
        self.events = []
        self.file.readline()
        self.ask("qmp_capabilities")

    def ask(self, execute, **arguments):
        self.file.write(json.dumps({"execute": execute, "arguments": arguments}) + "\n")
        self.file.flush()
        while True:
            said = json.loads(self.file.readline())
            if "event" in said:
                self.events.append(said)
            elif "error" in said:
                raise RuntimeError(f"{execute}: {said['error']['desc']}")
            else:
                return said["return"]

    def human(self, line):
        said = self.ask("human-monitor-command", **{"command-line": line})
        if said.strip():
            raise RuntimeError(f"{line}: {said.strip()}")

    def wait_for(self, event, **wanted):
        def fits(said):
            return said["event"] == event and all(said["data"].get(key) == value for key, value in wanted.items())
        while True:
            for said in self.events:
                if fits(said):
                    self.events.remove(said)
                    return
            said = json.loads(self.file.readline())
            if "event" in said:
                self.events.append(said)


class Machine:
    """The card in a machine. Everything of it is in `work`, which is removed at the end, but for the console of one that failed."""

    def __init__(self, arch="amd64", card=None, memory="1024M", sd_card=False, options=()):
        if arch not in MACHINES:
            raise Impossible(f"no machine of kind {arch}")
        tool(MACHINES[arch][0])
        tool("ssh")
        self.arch, self.memory, self.sd_card, self.options = arch, memory, sd_card, list(options)
        self.work = tempfile.mkdtemp(prefix="shoebox-guest-", dir=roomy())
        self.process = self.monitor = None
        self.plugged, self.ports = {}, {}
        self.console = os.path.join(self.work, "console")
        try:
            self.card = card or image(arch)
            self.prepare()
        except BaseException:
            shutil.rmtree(self.work, ignore_errors=True)
            raise

    def __enter__(self):
        signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
        return self

    def __exit__(self, kind, _value, _trace):
        if kind is not None and kind is not Impossible and os.path.exists(self.console):
            kept = os.path.join(tempfile.gettempdir(), f"shoebox-console-{os.getpid()}.log")
            shutil.copyfile(self.console, kept)
            print(f"the machine's console: {kept}", file=sys.stderr)
        self.cut()
        shutil.rmtree(self.work, ignore_errors=True)

    def prepare(self):
        """Kernel and initrd from the card itself, and a key for this machine's root. Kept with the card: the snapshot knows the key."""
        self.kept = os.path.join(cache(), f"card-{self.arch}-ready-" + hashlib.sha256(
            f"{os.path.realpath(self.card)} {os.stat(self.card).st_mtime_ns} {self.memory} {self.sd_card} {self.options} "
            f"{must_run(tool(MACHINES[self.arch][0]), '--version')} {sha256(__file__)}".encode()).hexdigest()[:16])
        with open(os.path.join(cache(), f"ready-{self.arch}.lock"), "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.path.exists(os.path.join(self.kept, "key.pub")):
                return
            shutil.rmtree(self.kept, ignore_errors=True)
            os.makedirs(self.kept)
            for name in ("vmlinuz", "initrd.img"):
                must_run(tool("mcopy"), "-n", "-i", self.card + FIRST_PARTITION, "::" + name, os.path.join(self.kept, name))
            must_run(tool("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", os.path.join(self.kept, "key"))

    def command(self, root, more):
        self.ports = {port: free_port() for port in PORTS}
        with open(os.path.join(self.kept, "key.pub"), "rb") as file:
            key = base64.b64encode(file.read()).decode()
        forwards = "".join(f",hostfwd=tcp:127.0.0.1:{here}-:{there}" for there, here in self.ports.items())
        card = ["-device", "sdhci-pci", "-device", "sd-card,drive=card"] if self.sd_card else ["-device", "virtio-blk-pci,drive=card"]
        program, *kind = MACHINES[self.arch]
        return [
            tool(program), *kind, "-accel", "tcg,thread=multi", "-smp", "2", "-m", self.memory, "-nodefaults", "-display", "none",
            "-kernel", os.path.join(self.kept, "vmlinuz"), "-initrd", os.path.join(self.kept, "initrd.img"),
            "-append", f"{ROOT_IS} console={CONSOLES[self.arch]} systemd.show_status=1 "
                       # Emulated, beside whatever else runs here.
                       "systemd.default_timeout_start_sec=600 systemd.default_device_timeout_sec=600 "
                       f"systemd.set_credential_binary=ssh.authorized_keys.root:{key}",
            "-serial", "file:" + self.console, "-qmp", f"unix:{self.work}/qmp,server=on,wait=off",
            "-device", "virtio-rng-pci", "-drive", f"if=none,id=card,{root}", *card,
            # Cut off from the world, but for the ports above.
            "-netdev", "user,id=net,restrict=on" + forwards, "-device", "virtio-net-pci,netdev=net,romfile=",
            "-device", "qemu-xhci,id=usb,p2=8,p3=8", *self.options, *more]

    def start(self, root, *more):
        with open(os.path.join(self.work, "qemu"), "wb") as said:
            # Its own lines only; ours are not its to read.
            self.process = subprocess.Popen(self.command(root, more), stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        began = time.monotonic()
        while not os.path.exists(os.path.join(self.work, "qmp")):
            self.alive()
            if time.monotonic() - began > PATIENCE:
                raise Wrong("QEMU does not start")
            time.sleep(0.05)
        self.monitor = Monitor(os.path.join(self.work, "qmp"))

    def alive(self):
        if self.process is None or self.process.poll() is not None:
            with open(os.path.join(self.work, "qemu"), encoding="utf-8", errors="replace") as file:
                raise Wrong(f"the machine is gone: {file.read()[-500:]}{self.tail()}")

    def tail(self, much=2500):
        with contextlib.suppress(OSError), open(self.console, encoding="utf-8", errors="replace") as file:
            return "\n--- console\n" + file.read()[-much:]
        return ""

    # --- starting

    def boot(self, raw=False, wait=True):
        """A start from nothing, until it says that it is up. `raw`: the card is the file itself, not a layer over it."""
        if raw:
            root = f"file={self.card},format=raw"
        else:
            root = f"file={self.layer()},format=qcow2"
        self.start(root)
        if wait:
            self.until_up(BOOT)

    def layer(self):
        path = os.path.join(self.work, "card.qcow2")
        if not os.path.exists(path):
            must_run(tool("qemu-img"), "create", "-q", "-f", "qcow2", "-b", os.path.realpath(self.card), "-F", "raw", path)
        return path

    def until_up(self, limit):
        self.until("it answers", lambda: self.run("true")[0] == 0, limit)
        self.until("it is up", lambda: self.run("systemctl is-system-running")[1].strip() in ("running", "degraded"), limit)
        self.must(f"date -u -s @{int(time.time())} >/dev/null")

    def restore(self):
        """A machine that has started already, no drive plugged in. The first time, here, it is started and kept."""
        kept = os.path.join(self.kept, "ready.qcow2")
        with open(os.path.join(cache(), f"ready-{self.arch}.lock"), "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not os.path.exists(kept):
                self.boot()
                # The daemon is not up when the system is: it has drives to look for, and its first minute to judge.
                self.until("the daemon is up", lambda: self.run("systemctl is-active shoebox")[0] == 0)
                self.monitor.human("savevm ready")
                self.cut()
                shutil.copyfile(self.layer(), kept + ".part")
                os.rename(kept + ".part", kept)
        self.cut()
        layer = os.path.join(self.work, "card.qcow2")
        must_run("cp", "--sparse=always", kept, layer)
        self.start(f"file={layer},format=qcow2", "-loadvm", "ready")
        self.until_up(PATIENCE)

    def kill(self):
        """The power goes; its ports stay known to whoever is sending something."""
        self.process.kill()
        self.process.wait()

    def cut(self):
        """The power goes, and everything of this start is put away."""
        if self.monitor:
            self.monitor.file.close()
            self.monitor.line.close()
            self.monitor = None
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None
        self.plugged = {}
        for name in ("ssh", "qmp"):
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(self.work, name))

    # --- talking to it

    def run(self, line, limit=PATIENCE, feed=None):
        """(exit code, what it printed) of a shell line run by root in the machine. 255: it did not answer."""
        self.alive()
        key = os.path.join(self.work, "key")
        if not os.path.exists(key):
            shutil.copyfile(os.path.join(self.kept, "key"), key)
            os.chmod(key, 0o600)
        command = ["ssh", "-q", "-F", "none", "-i", key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                   "-o", "BatchMode=yes", "-o", "ConnectTimeout=30", "-o", "ServerAliveInterval=20", "-o", f"ControlPath={self.work}/ssh",
                   "-o", "ControlMaster=auto", "-o", "ControlPersist=3600", "-p", str(self.ports[22]), "root@127.0.0.1", line]
        try:
            done = subprocess.run(command, input=feed, stdin=subprocess.DEVNULL if feed is None else None, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=limit, check=False)
        except subprocess.TimeoutExpired:
            return 255, f"no answer within {limit} s: {line}"
        return done.returncode, done.stdout.decode(errors="replace")

    def must(self, line, limit=PATIENCE, feed=None):
        code, said = self.run(line, limit, feed)
        if code != 0:
            raise Wrong(f"{line}: exit code {code}: {said[-2000:]}")
        return said

    def until(self, what, holds, limit=PATIENCE, hint=lambda: ""):
        began = time.monotonic()
        while True:
            self.alive()
            found = holds()
            if found:
                return found
            if time.monotonic() - began > limit:
                raise Wrong(f"not within {limit} s: {what} {hint()}{self.tail()}")
            time.sleep(0.3)

    def port(self, there):
        """Where a port of the machine's is on 127.0.0.1."""
        return self.ports[there]

    # --- drives

    def plug(self, name, source, serial=None, port=None):
        """A USB drive is plugged in: a file, or what QMP calls a block driver ({"driver": "nbd", …})."""
        what = {"driver": "file", "filename": source} if isinstance(source, str) else source
        self.monitor.ask("blockdev-add", **{"node-name": name, "driver": "raw", "file": what})
        more = {} if port is None else {"port": str(port)}
        self.monitor.ask("device_add", driver="usb-storage", bus="usb.0", drive=name, id="usb-" + name,
                         serial=serial or name.upper(), removable=False, **more)
        self.plugged[name] = source
        return name

    def yank(self, name):
        """It is pulled out, without a word before."""
        self.monitor.ask("device_del", id="usb-" + name)
        self.monitor.wait_for("DEVICE_DELETED", device="usb-" + name)
        self.monitor.ask("blockdev-del", **{"node-name": name})
        del self.plugged[name]

    def device(self, name):
        """The kernel's name of a drive (`sda`), empty while there is none."""
        serial = re.escape(name.upper())
        said = self.run("lsblk --nodeps --noheadings --output NAME,SERIAL")[1]
        found = re.search(rf"^(\S+)\s+{serial}\s*$", said, re.M)
        return found[1] if found else ""


def main(trial, doc, name):
    """Runs a test as all here are run: 0 it held, 1 it did not, 77 it cannot be tried here."""
    if sys.argv[1:] in (["--help"], ["-h"]):
        print(doc.strip())
        return 0
    began = time.monotonic()
    try:
        trial()
    except Impossible as why:
        print(f"left out {name}: {why}", file=sys.stderr)
        return 77
    except Wrong as why:
        print(f"{name}: FAILED: {why}", file=sys.stderr)
        return 1
    print(f"{name}: held, {time.monotonic() - began:.0f} s")
    return 0
