# A client behind a link of some speed, for scripts/bench: a network namespace, two interfaces, and a bucket of tokens at each end.
"""Loopback has no speed that a phone could have: what a protocol costs is hidden, or made much of, by a network that is faster than any.

The client's sockets are made in a namespace of their own, behind a pair of interfaces (veth(4)) with `tc qdisc … tbf` at both ends. The
box stays where it is. Bytes of Ethernet, IP and TCP count, so that of 1 Gbit/s about 113 MiB/s are left, as on a cable. There is no delay
but that of the queue: a wireless network adds some milliseconds to each request, of every protocol alike."""

import ctypes
import os
import subprocess

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
# Addresses for benchmarks (RFC 2544, appendix C.2.2).
NETWORK = "198.18"
# What may be sent at once: two of the largest pieces that TCP hands to an interface.
BURST, QUEUE = "131072", "30ms"


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


class Link:
    """Between the client and the box. `rate`: as tc(8) reads it, 1gbit."""

    def __init__(self, rate):
        number = os.getpid() % 16384
        self.space, self.near, self.far = f"bench-{os.getpid()}", f"bb{os.getpid()}", f"bc{os.getpid()}"
        net = f"{NETWORK}.{number >> 6}.{(number & 63) << 2}".rpartition(".")
        self.address, client = f"{net[0]}.{int(net[2]) + 1}", f"{net[0]}.{int(net[2]) + 2}"
        run("ip", "netns", "add", self.space)
        try:
            run("ip", "link", "add", self.near, "type", "veth", "peer", "name", self.far)
            run("ip", "link", "set", self.far, "netns", self.space)
            run("ip", "address", "add", f"{self.address}/30", "dev", self.near)
            run("ip", "link", "set", self.near, "up")
            within = ("ip", "-n", self.space)
            run(*within, "address", "add", f"{client}/30", "dev", self.far)
            run(*within, "link", "set", self.far, "up")
            run(*within, "link", "set", "lo", "up")
            bucket = ("tbf", "rate", rate, "burst", BURST, "latency", QUEUE)
            run("tc", "qdisc", "add", "dev", self.near, "root", *bucket)
            run("tc", "-n", self.space, "qdisc", "add", "dev", self.far, "root", *bucket)
        except BaseException:
            self.remove()
            raise

    def from_client(self, make):
        """What `make` returns, called by a thread that is in the client's namespace meanwhile: a socket stays where it was made."""
        with open("/proc/thread-self/ns/net", "rb") as home, open(f"/run/netns/{self.space}", "rb") as there:
            enter(there)
            try:
                return make()
            finally:
                enter(home)

    def remove(self):
        subprocess.run(["ip", "netns", "delete", self.space], check=False)
        # The other end goes with it, but for one that never got there.
        subprocess.run(["ip", "link", "delete", self.near], check=False, stderr=subprocess.DEVNULL)


def enter(space):
    if LIBC.setns(space.fileno(), CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
