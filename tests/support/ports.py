"""The cases of the port table, played on whatever can bind and listen: on `PortTable`, and on the kernel.

A case is a list of steps. Each is a socket that binds the one port in question, and listens on it at once or when all
are bound. Its result has a character for each step: ``.`` done, ``b`` the bind was refused, ``l`` the listen was. A
socket that was refused is closed at once; the others stay until the case is over.
"""

import itertools
from dataclasses import dataclass
from random import Random

from pystack import ports
from pystack.config import StackConfig

PORT = 7000
FLAGS = ("-", "A", "P", "AP")  # SO_REUSEADDR, SO_REUSEPORT
ANY, ONE, TWO = "any", "one", "two"  # 0.0.0.0 and two addresses of the host
NEVER, AT_ONCE, LATER = "never", "at once", "later"  # when a socket listens
OVERLAPPING = ((ANY, ANY), (ANY, ONE), (ONE, ANY), (ONE, ONE))  # addresses of two sockets
APART = ((ONE, TWO),)
ADDRESSES = {ANY: bytes(4), ONE: bytes((10, 9, 0, 1)), TWO: bytes((10, 9, 0, 2))}

# What two sockets with overlapping addresses get on Linux 6.18 (integration/test_ports_like_linux.py asks the kernel).
TABLE = """
          udp  tcp, who listens
flags          none  first  second  both  both, later
-   -     .b   .b    .b     .b      .b    .b
-   A     .b   .b    .b     .b      .b    .b
-   P     .b   .b    .b     .b      .b    .b
-   AP    .b   .b    .b     .b      .b    .b
A   -     .b   .b    .b     .b      .b    .b
A   A     ..   ..    .b     ..      .b    .l
A   P     .b   .b    .b     .b      .b    .b
A   AP    ..   ..    .b     ..      .b    .l
P   -     .b   .b    .b     .b      .b    .b
P   A     .b   .b    .b     .b      .b    .b
P   P     ..   ..    ..     ..      ..    ..
P   AP    ..   ..    ..     ..      ..    ..
AP  -     .b   .b    .b     .b      .b    .b
AP  A     ..   ..    .b     ..      .b    .l
AP  P     ..   ..    ..     ..      ..    ..
AP  AP    ..   ..    ..     ..      ..    ..
"""
COLUMNS = (  # transport, when the first socket listens, when the second does
    ("udp", NEVER, NEVER),
    ("tcp", NEVER, NEVER),
    ("tcp", AT_ONCE, NEVER),
    ("tcp", NEVER, AT_ONCE),
    ("tcp", AT_ONCE, AT_ONCE),
    ("tcp", LATER, LATER),
)


@dataclass(frozen=True)
class Step:
    """One socket: *interface* is 0 or one of two, *owner* one of two users."""

    flags: str
    address: str
    listens: str = NEVER
    interface: int = 0
    owner: int = 0


def table():
    """The rows of TABLE as ``(transport, two steps without addresses as a function of them, result)``."""
    for line in TABLE.splitlines()[3:]:
        one, two, *results = line.split()
        for (transport, first, second), result in zip(COLUMNS, results, strict=True):
            yield transport, (one, first), (two, second), result


def pair(first, second, addresses, **more):
    """Two steps, of ``(flags, when it listens)`` each; *more* is said of the second alone."""
    (one, listens), (two, listens_too) = first, second
    return [Step(one, addresses[0], listens), Step(two, addresses[1], listens_too, **more)]


def longer_cases(seed, count, *, listens, owners=(0,)):
    """Cases of three to six sockets drawn by chance."""
    random = Random(seed)
    times = (NEVER, NEVER, AT_ONCE, LATER) if listens else (NEVER,)
    drawn = (FLAGS, (ANY, ONE, TWO), times, (0, 0, 1, 2), owners)
    return [[Step(*map(random.choice, drawn)) for _ in range(random.randrange(3, 7))] for _ in range(count)]


def played(case, bind, listen, close):
    """The result of a case by ``bind(number, step)`` and ``listen(number)``, which return whether they were done."""
    result = []
    for number, step in enumerate(case):
        mark = "."
        if not bind(number, step):
            mark = "b"
        elif step.listens == AT_ONCE and not listen(number):
            mark = "l"
        if mark != ".":
            close(number)
        result.append(mark)
    for number, step in enumerate(case):
        if step.listens == LATER and result[number] == "." and not listen(number):
            close(number)
            result[number] = "l"
    return "".join(result)


def by_port_table(transport, case):
    """The result of a case on a `PortTable`."""
    made = ports.PortTable(StackConfig(), Random(1), {"tcp": ports.tcp_conflict, "udp": ports.udp_conflict}[transport])

    def bind(number, step):
        return made.bind(
            number,
            ADDRESSES[step.address],
            PORT,
            reuse_address="A" in step.flags,
            reuse_port="P" in step.flags,
            interface=step.interface,
            owner=step.owner,
        ) == (PORT, None)

    result = played(case, bind, lambda number: made.listen(number) is None, made.release)
    for number in range(len(case)):
        made.release(number)
    assert len(made) == 0
    return result


def two_users(transport):
    """The cases of TABLE's column, with sockets of two users."""
    for (each, first, second), addresses in itertools.product(COLUMNS, OVERLAPPING):
        if each == transport:
            for one, two in itertools.product(FLAGS, FLAGS):
                yield pair((one, first), (two, second), addresses, owner=1)
