# The contenders of scripts/bench, each started in an empty folder on a filesystem of its own, and what is counted of them.
"""Servers, drives and counters for scripts/bench."""

import base64
import ctypes
import hashlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

MIB, GIB = 1 << 20, 1 << 30
TICKS = os.sysconf("SC_CLK_TCK")
LIBC = ctypes.CDLL(None, use_errno=True)
USER, PASSWORD = "anna", "bench-" + secrets.token_hex(8)

NGINX = """\
load_module /usr/lib/nginx/modules/ngx_http_dav_ext_module.so;
daemon off; user root; worker_processes 2; pid {work}/nginx.pid; error_log {work}/nginx.err;
events {{ worker_connections 256; }}
http {{
  access_log off; keepalive_requests 1000000; client_max_body_size 0; client_body_temp_path {root}/.temp;
  server {{
    listen 127.0.0.1:{port}; root {root};
    location / {{ dav_methods PUT DELETE MKCOL; dav_ext_methods PROPFIND OPTIONS; auth_basic box; auth_basic_user_file {work}/nginx.users; }}
  }}
}}
"""
APACHE = """\
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {work}/apache.pid
ErrorLog {work}/apache.err
Mutex file:{work}
User www-data
Group www-data
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authn_core_module {modules}/mod_authn_core.so
LoadModule authn_file_module {modules}/mod_authn_file.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule authz_user_module {modules}/mod_authz_user.so
LoadModule auth_basic_module {modules}/mod_auth_basic.so
LoadModule dav_module {modules}/mod_dav.so
LoadModule dav_fs_module {modules}/mod_dav_fs.so
DavLockDB {root}/.lock
DocumentRoot {root}
<Directory {root}>
  Dav On
  AuthType Basic
  AuthName box
  AuthUserFile {work}/apache.users
  Require valid-user
</Directory>
"""
SHOEBOX = """\
[http]
listen = ["127.0.0.1:{port}"{also}]
[drives]
mounts = {mounts}
require_mount = false
[control]
socket = "{work}/control.sock"
[log]
level = "error"
"""


# The dav-server crate's own server, an example in that crate.
DAV_SERVER = "sample-litmus-server"


def program(name):
    """Where a contender's program is; `None`: it is not installed."""
    return shutil.which(name) or shutil.which(name, path=Path.home() / ".cargo/bin")


class Drive:
    """An ext4 file system in a loop device, mounted below the temporary folder. `slow`: on the disk of bench_slow.py."""

    def __init__(self, work, name, size, slow=False):
        self.image, self.mount, self.shown, self.disk = work / f"{name}.img", work / name, work / f"{name}.slow", None
        with open(self.image, "wb") as image:
            image.truncate(size)
        run("mkfs.ext4", "-q", "-F", "-m", "0", "-O", "encrypt", "-E", "lazy_itable_init=0,lazy_journal_init=0", self.image)
        self.mount.mkdir()
        self.device = None
        try:
            self.device = run("losetup", "--find", "--show", "--direct-io=on", self.show() if slow else self.image).strip()
            run("mount", self.device, self.mount)
        except BaseException:
            self.let_go()
            raise

    def show(self):
        self.shown.mkdir()
        program = Path(__file__).with_name("bench_slow.py")
        self.disk = subprocess.Popen([sys.executable, str(program), str(self.image), str(self.shown)])
        until = time.monotonic() + 20
        while not (self.shown / "disk").exists():
            if self.disk.poll() is not None or time.monotonic() > until:
                raise RuntimeError("the slow disk does not come")
            time.sleep(0.02)
        return self.shown / "disk"

    def flushes(self):
        # Field 16 (Documentation/admin-guide/iostats.rst), counting from 1.
        return int(Path(f"/sys/block/{os.path.basename(self.device)}/stat").read_text(encoding="ascii").split()[15])

    def moved(self):
        """(bytes read, bytes written) of the device."""
        fields = Path(f"/sys/block/{os.path.basename(self.device)}/stat").read_text(encoding="ascii").split()
        return int(fields[2]) * 512, int(fields[6]) * 512

    def sync(self):
        handle = os.open(self.mount, os.O_RDONLY)
        try:
            if LIBC.syncfs(handle) != 0:
                raise OSError(ctypes.get_errno(), "syncfs")
        finally:
            os.close(handle)

    def remove(self):
        run("umount", self.mount)
        self.let_go()

    def let_go(self):
        if self.device:
            run("losetup", "--detach", self.device)
        if self.disk:
            subprocess.run(["umount", str(self.shown)], check=False)
            self.disk.wait(60)
            self.shown.rmdir()
        self.image.unlink()
        self.mount.rmdir()


def tree(root):
    """A process and its children, by their numbers, with the seconds of user and system time each has used, ended children
    included."""
    parents, used = {}, {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text(encoding="latin-1").rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry)], used[int(entry)] = int(fields[1]), sum(int(n) for n in fields[11:15])
    ours = {root}
    while more := {child for child, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return {pid: used.get(pid, 0) / TICKS for pid in ours}


def memory(root):
    """MiB of a process and its children; pages shared among them count once (PSS)."""
    total = 0
    for pid in tree(root):
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
            total += int(rollup.partition("\nPss:")[2].split()[0])
        except (OSError, IndexError):
            continue  # it has ended
    return total / 1024


class Server:
    """One contender, started for one turn."""

    def __init__(self, kind, work, drives, binary, adopted=2, prepare=None, more="", address=None):
        self.kind, self.drives, self.adopted = kind, drives, adopted
        self.work = work / "turn"
        self.work.mkdir(mode=0o755)
        self.roots = [drive.mount / "turn" for drive in drives]
        for root in self.roots:
            root.mkdir(mode=0o755)
        if prepare:
            prepare(self.roots[0])
        self.prefix, self.password = "/", PASSWORD
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.binary = binary
        facts = {"work": self.work, "root": self.roots[0], "port": self.port,
                 "also": f', "{address}:{self.port}"' if address else ""}
        if kind == "nginx":
            (self.roots[0] / ".temp").mkdir()
            (self.work / "nginx.users").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")
            command = ["nginx", "-p", self.work, "-c", self.write("nginx.conf", NGINX, facts)]
        elif kind == "apache":
            shutil.chown(self.roots[0], "www-data", "www-data")
            digest = base64.b64encode(hashlib.sha1(PASSWORD.encode()).digest()).decode()
            (self.work / "apache.users").write_text(f"{USER}:{{SHA}}{digest}\n")
            facts["modules"] = "/usr/lib/apache2/modules"
            command = ["apache2", "-DFOREGROUND", "-d", self.work, "-f", self.write("apache.conf", APACHE, facts)]
        elif kind == "dav-server":
            # It asks for a name and a password, and takes any.
            command = [program(DAV_SERVER), "-p", self.port, "-d", self.roots[0], "-a"]
        else:
            facts["mounts"] = json.dumps([str(root) for root in self.roots])
            self.config = self.write("config.toml", SHOEBOX, facts)
            with open(self.config, "a", encoding="utf-8") as config:
                config.write(more)
            command = [binary, "--config", self.config, "serve"]
        self.command = [str(c) for c in command]
        try:
            self.start()
            self.wait_until_up()
            if kind.startswith("shoebox"):
                self.furnish()
        except BaseException:
            print((self.work / "log").read_text(encoding="utf-8"), file=sys.stderr)
            self.stop()
            raise

    def start(self, **settings):
        """With these environment variables."""
        with open(self.work / "log", "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, env={**os.environ, **settings})

    def write(self, name, text, facts):
        (self.work / name).write_text(text.format(**facts), encoding="utf-8")
        return self.work / name

    def wait_until_up(self):
        until = time.monotonic() + 20
        while time.monotonic() < until:
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"{self.kind} does not answer")

    def ask(self, *words):
        return run(self.binary, "--config", self.config, *words)

    def furnish(self):
        for root, role in zip(self.roots[:self.adopted], ("primary", "mirror")):
            self.ask("drive", "adopt", root, "--role", role)
        self.ask("person", "add", USER)
        made = self.ask("device", "add", USER, "bench", "--kind", "computer", "--json")
        self.password = json.loads(made)["password"]
        self.prefix = "/dav/"

    def file(self, root, name):
        return root / "photos" / USER / name if self.kind.startswith("shoebox") else root / name

    def tree(self):
        return tree(self.process.pid)

    def cpu(self):
        return sum(self.tree().values())

    def memory(self):
        return memory(self.process.pid)

    def threads(self):
        """{(number, when it began): (name, switches it asked for, switches it did not)} of each thread of it and its children, so far."""
        seen = {}
        for pid in self.tree():
            for task in Path(f"/proc/{pid}/task").glob("*"):
                try:
                    name, _, rest = (task / "stat").read_text(encoding="latin-1").partition("(")[2].rpartition(")")
                    lines = (task / "status").read_text(encoding="latin-1").splitlines()
                except OSError:
                    continue  # it has ended
                counts = [int(line.split()[1]) for line in lines if "voluntary_ctxt_switches:" in line]
                # Field 22 (proc_pid_stat(5)): numbers of threads are given again.
                seen[task.name, rest.split()[19]] = name, *counts
        return seen

    def wakes(self, seconds):
        """({thread's name: [wake-ups, switches to others that had to wait] a second}, threads that came, threads that ended) while so
        much time passes. A thread that goes to sleep by itself was woken as often. Of threads that are there at the beginning and the
        end; what those that came or ended did meanwhile is known to nobody."""
        before, began = self.threads(), time.monotonic()
        time.sleep(seconds)
        after, took, woken = self.threads(), time.monotonic() - began, {}
        for thread in before.keys() & after.keys():
            name, *counts = after[thread]
            sums = woken.setdefault(name, [0, 0])
            for which, count in enumerate(counts):
                sums[which] += (count - before[thread][1 + which]) / took
        return woken, len(after.keys() - before.keys()), len(before.keys() - after.keys())

    def end(self):
        """It ends, and what it wrote stays."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def stop(self):
        self.end()
        for place in (self.work, *self.roots):
            shutil.rmtree(place)


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(str(c) for c in command)}: exit code {done.returncode}: {done.stderr.strip()}")
    return done.stdout


