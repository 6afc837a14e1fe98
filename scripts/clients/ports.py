# A port for a server of a test's own.
import random
import socket


def free_port():
    """One that nobody listens on, below those that the kernel gives to clients: a box that is started again needs the one it had."""
    while True:
        # Not of the sequence that a suite draws its photos from.
        port = random.SystemRandom().randrange(10_000, 32_000)
        # Asked, not bound: a child of another thread, between its fork and its exec, would keep what was bound from the daemon.
        with socket.socket() as asking:
            if asking.connect_ex(("127.0.0.1", port)) != 0:
                return port
