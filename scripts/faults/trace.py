# Reads what strace writes, for the fault scripts.
"""Reads what strace -f -y writes: one Call per system call, with the lines where it began and ended."""
import re

LINE = re.compile(r"^(\d+) +(.*)$")
RESUMED = re.compile(r"^<\.\.\. (\w+) resumed>(.*)$")
BEGUN = re.compile(r"^(\w+)\((.*)$")
RESULT = re.compile(r"\) += (-?\d+|\?)(.*)$")
# A descriptor with what is behind it; strace writes a > in a name as \76.
FD = re.compile(r"(-?\d+|AT_FDCWD)<([^>]*)>")


class Call:
    """One system call. `begun` and `ended` are numbers of log lines; a call that never ended has `ended` None."""

    def __init__(self, thread, name, text, begun):
        self.thread, self.name, self.text, self.begun = thread, name, text, begun
        self.ended = None
        self.result = None
        self.injected = False
        self.line = ""

    def finish(self, text, number):
        self.text += text
        self.ended = number
        self.injected = "(INJECTED" in text
        found = RESULT.search(self.text)
        self.result = int(found.group(1)) if found and found.group(1) != "?" else None

    @property
    def ok(self):
        return self.result is not None and self.result >= 0

    def fds(self):
        """What is behind the descriptors of the arguments, in order; ` (deleted)` stays."""
        arguments = self.text.rsplit(") = ", 1)[0]
        return [(number, path) for number, path in FD.findall(arguments)]

    def behind(self):
        """What is behind the first descriptor."""
        fds = self.fds()
        return fds[0][1] if fds else ""

    def made(self):
        """The descriptor that the call returned, with what is behind it."""
        found = re.search(r"\) += (\d+)<([^>]*)>", self.text)
        return (found.group(1), found.group(2)) if found else (None, "")

    def strings(self):
        return re.findall(r'"((?:[^"\\]|\\.)*)"', self.text)

    def __repr__(self):
        return f"{self.begun}: {self.thread} {self.name}({self.text}"


def calls(lines):
    """All calls of a log, by the line where they began."""
    found, open_calls = [], {}
    for number, line in enumerate(lines):
        match = LINE.match(line)
        if not match:
            continue
        thread, rest = match.groups()
        resumed = RESUMED.match(rest)
        if resumed:
            call = open_calls.pop(thread, None)
            if call:
                call.finish(resumed.group(2), number)
                call.line += "\n" + line
            continue
        begun = BEGUN.match(rest)
        if not begun:
            continue
        call = Call(thread, begun.group(1), "", number)
        call.line = line
        found.append(call)
        text = begun.group(2)
        if text.endswith("<unfinished ...>"):
            call.text = text[: -len("<unfinished ...>")]
            open_calls[thread] = call
        else:
            call.finish(text, number)
    return found
