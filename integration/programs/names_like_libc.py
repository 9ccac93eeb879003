"""Ask libc and `monkey.resolver` the same, and print where they differ; at the end, "compared".

Run in a network and a mount namespace of its own: ``names_like_libc.py FOLDER [ADDRESS/LENGTH[-]]...``, the addresses
being those of the namespace's interfaces but the loopback, with "-" if deprecated. Files in FOLDER cover those of /etc
that libc reads; port 53 of 127.0.0.1 is a name server that says what the name that is asked for tells it to.
"""

import _socket
import ctypes
import itertools
import os
import socket
import sys
import threading
from _socket import AF_INET, AF_INET6, SOCK_STREAM

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from monkey import resolver

MS_BIND = 0x1000
SETS = [  # of addresses that one name has in /etc/hosts
    ("192.0.2.1", "2001:db8::1"),
    ("2001:db8::1", "192.0.2.1", "fd00::1", "2002:c000:204::1", "2001::1", "10.0.0.1"),
    ("198.51.100.1", "192.0.2.200", "192.0.2.9", "192.0.2.7", "203.0.113.1"),
    ("2001:db8:1::1", "2001:db8:0:8000::1", "2001:db8::8000:0:0:1", "2001:db8::3"),
    ("127.0.0.1", "::1", "192.0.2.1", "2001:db8::1"),
    ("::1", "127.0.0.1"),
    ("169.254.1.1", "192.0.2.1", "fd00::1"),
    ("fec0::1", "fd00::1", "2001:db8:ffff::1"),
    ("2001:db8::7",),
    ("192.0.2.8",),
    ("::1",),
    ("::ffff:192.0.2.7",),
    ("::ffff:192.0.2.1", "2001:db8::1", "192.0.2.1"),
]
NOT_MAPPED = 3  # the last ones: with AI_V4MAPPED, libc has what is mapped in the file twice, or not at all
ANSWERS = ("data", "nothing", "NXDOMAIN", "FORMERR", "SERVFAIL", "REFUSED")
FAILURES = ("SERVFAIL", "REFUSED")  # what libc makes of one depends on which answer came first
FLAGS = (0, _socket.AI_CANONNAME, _socket.AI_V4MAPPED, _socket.AI_V4MAPPED | _socket.AI_ALL, _socket.AI_ADDRCONFIG)


def main(folder, *configured):
    deprecated = {text.partition("/")[0] for text in configured if text.endswith("-")}
    lengths = dict(text.rstrip("-").split("/") for text in configured)
    hosts = os.path.join(folder, "hosts")
    with open(hosts, "w") as file:
        for number, addresses in enumerate(SETS):
            file.writelines(f"{address} set{number}.test\n" for address in addresses)
    cover("/etc/hosts", hosts)
    resolv_conf = os.path.join(folder, "resolv.conf")
    with open(resolv_conf, "w") as file:
        file.write("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    cover("/etc/resolv.conf", resolv_conf)
    server = _socket.socket(AF_INET, _socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    threading.Thread(target=serve, args=(server,), daemon=True).start()
    names = resolver.from_system(
        configured=lambda: tuple({AF_INET6 if ":" in address else AF_INET for address in lengths}),
        source_of=lambda address, scope: source_of(address, scope, lengths),
        is_deprecated=deprecated.__contains__,
    )
    in_hosts = [f"set{number}.test" for number in range(len(SETS))]
    not_mapped = in_hosts[-NOT_MAPPED:]
    for host in (*asked_names(), *in_hosts, "::1", "127.0.0.1", None):
        for family, flags in itertools.product((0, AF_INET, AF_INET6), FLAGS):
            if flags & _socket.AI_V4MAPPED and host in not_mapped:
                continue
            compare(names, "getaddrinfo", host, 80, family, SOCK_STREAM, 0, flags)
        if host is not None:
            for function in ("gethostbyname", "gethostbyname_ex", "gethostbyaddr"):
                compare(names, function, host)
    compare(names, "getaddrinfo", None, 80, 0, SOCK_STREAM, 0, _socket.AI_PASSIVE)
    for address in ("192.0.2.7", "192.0.2.8", "2001:db8::7", "::ffff:192.0.2.8", "203.0.113.9", "2001:db8::99"):
        compare(names, "gethostbyaddr", address)
        compare(names, "getnameinfo", (address, 80), 0)
    print("compared")


def asked_names():
    for a, aaaa in itertools.product(ANSWERS, ANSWERS):
        if not {a, aaaa} & set(FAILURES) or (a, aaaa) in (("data", "SERVFAIL"), ("SERVFAIL", "SERVFAIL")):
            yield f"{a}-{aaaa}.test"


def compare(names, function, *arguments):
    ours, libcs = outcome(getattr(names, function), arguments), outcome(getattr(_socket, function), arguments)
    if ours != libcs:
        print(f"{function}{arguments}: {ours}, and not {libcs}")


def outcome(function, arguments):
    """Without what libc says twice: 127.0.0.1 where /etc/hosts has "::1" as well."""
    try:
        found = function(*arguments)
    except OSError as error:
        return type(error), error.args
    if isinstance(found, list):
        return found[:1] + [each for each in dict.fromkeys(found[1:]) if each[4] != found[0][4]]
    return (*found[:2], list(dict.fromkeys(found[2]))) if len(found) == 3 and isinstance(found, tuple) else found


def source_of(address, scope, lengths):
    family = AF_INET6 if ":" in address else AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((address, 9) if family == AF_INET else (address, 9, 0, scope))
        except OSError:
            return None
        source = sock.getsockname()[0]
    # Where no address is of IPv6, libc does not look at prefixes at all.
    return f"{source}/{lengths[source]}" if source in lengths and ":" in "".join(lengths) else source


def cover(path, by):
    if ctypes.CDLL(None, use_errno=True).mount(by.encode(), path.encode(), None, MS_BIND, None):
        raise OSError(ctypes.get_errno(), f"cannot cover {path}")


def serve(server):
    while True:
        data, asker = server.recvfrom(512)
        query = dns.message.from_wire(data)
        question = query.question[0]
        kind = question.to_text().split()[2]
        words = question.name.to_text().split(".")[0].split("-")
        what = {"A": words[0], "AAAA": words[-1]}.get(kind, "NXDOMAIN")
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if what == "data":
            address = "192.0.2.1" if kind == "A" else "2001:db8::1"
            response.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, address))
        elif what != "nothing":
            response.set_rcode(dns.rcode.from_text(what) if what.isupper() else dns.rcode.NXDOMAIN)
        server.sendto(response.to_wire(), asker)


main(*sys.argv[1:])
