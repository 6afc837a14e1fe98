# A disk as slow as those that families plug in, for scripts/bench: an image file that FUSE shows, with a head that has to move.
"""Usage: bench_slow.py IMAGE DIRECTORY: shows DIRECTORY/disk until DIRECTORY is unmounted.

The disk does one thing at a time, in the order it was asked. A piece that does not begin where the last one ended costs SEEK,
a flush costs FLUSH, bytes cost what RATE says: about what a 2.5" hard disk behind USB does. Without it a virtual machine's
NVMe disk would hide that two want the same head."""

import ctypes
import errno
import os
import struct
import sys
import time

RATE, SEEK, FLUSH = 110_000_000, 0.008, 0.015
PIECE = 1 << 20
LOOKUP, FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS, RELEASE, FSYNC, INIT, BATCH_FORGET = (
    1, 2, 3, 4, 14, 15, 16, 17, 18, 20, 26, 42)
# include/uapi/linux/fuse.h: reads side by side, writes of more than a page, pieces of up to so many pages.
FLAGS = 1 << 0 | 1 << 5 | 1 << 22
ROOT, DISK = 1, 2


class Slow:
    """Answers the kernel, one request after the other."""

    def __init__(self, image, directory):
        self.image = os.open(image, os.O_RDWR | os.O_CLOEXEC)
        self.size = os.fstat(self.image).st_size
        self.kernel = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        self.head, self.free = 0, time.monotonic()
        options = f"fd={self.kernel},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"bench", os.fsencode(directory), b"fuse", 0, options) != 0:
            raise OSError(ctypes.get_errno(), f"mount {directory}")

    def serve(self):
        while True:
            try:
                request = os.read(self.kernel, PIECE + 4096)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return  # unmounted
                if error.errno in (errno.EINTR, errno.ENOENT):
                    continue
                raise
            _, what, unique, node = struct.unpack_from("<IIQQ", request)
            if what in (FORGET, BATCH_FORGET):
                continue
            try:
                said, failed = self.answer(what, node, request[40:]), 0
            except OSError as error:
                said, failed = b"", -error.errno
            os.write(self.kernel, struct.pack("<IiQ", 16 + len(said), failed, unique) + said)

    def answer(self, what, node, asked):
        if what == INIT:
            return struct.pack("<IIIIHHIIHHI28x", 7, 31, PIECE, FLAGS, 16, 12, PIECE, 1, PIECE >> 12, 0, 0)
        if what == LOOKUP and asked == b"disk\0":
            return struct.pack("<QQQQII", DISK, 0, 3600, 3600, 0, 0) + self.attributes(DISK)
        if what in (GETATTR, SETATTR):
            return struct.pack("<QII", 3600, 0, 0) + self.attributes(node)
        if what == OPEN:
            return struct.pack("<QII", 0, 1, 0)  # past the page cache
        if what == READ:
            _, offset, size = struct.unpack_from("<QQI", asked)
            self.work(offset, size)
            return os.pread(self.image, size, offset)
        if what == WRITE:
            _, offset, size = struct.unpack_from("<QQI", asked)
            self.work(offset, size)
            return struct.pack("<II", os.pwrite(self.image, asked[40:40 + size], offset), 0)
        if what == FSYNC:
            self.wait(FLUSH)
            return b""
        if what == RELEASE:
            return b""
        raise OSError(errno.ENOENT if what == LOOKUP else errno.ENOSYS, "not asked of disks")

    def attributes(self, node):
        mode, size = (0o40755, 0) if node == ROOT else (0o100600, self.size)
        return struct.pack("<QQQQQQIIIIIIIIII", node, size, size >> 9, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

    def work(self, offset, size):
        self.wait((0 if offset == self.head else SEEK) + size / RATE)
        self.head = offset + size

    def wait(self, seconds):
        """What our own answers cost is part of the disk's time, and not more of it."""
        self.free = max(self.free, time.monotonic() - 0.001) + seconds
        time.sleep(max(self.free - time.monotonic(), 0))


if __name__ == "__main__":
    Slow(sys.argv[1], sys.argv[2]).serve()
