"""What ``python -m pystack.run`` was asked for, on its command line and in the environment."""

import argparse
import re
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_interface, ip_network

from pystack import __version__
from pystack.config import StackConfig
from pystack.errors import StackError
from pystack.sysctl import apply

DHCP, AUTO = "dhcp", "auto"  # addresses by DHCPv4, and by IPv6's router advertisements

SCRIPT = "script"
MODULE = "module"
CODE = "code"

_NAME = re.compile(r"[^\s/:]{1,15}")  # of an interface (IFNAMSIZ)
_MAC = re.compile(r"[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5}", re.ASCII | re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?", re.ASCII)
_LOOPBACK = "127.0.0.1"
# Prefixes of the runner's own: 10.77.N.0/24, and by RFC 4193 §3.2.2, drawn once for all runners, fdc5:77ab:1b4e:N::/64.
_PREFIXES = "10.77.{0}.0/24", "fdc5:77ab:1b4e:{0:x}::/64"
_DRAWN = 48  # bits


@dataclass(frozen=True, slots=True)
class Publish:
    """A port of the host that leads to one of the stack."""

    host: str
    host_port: int
    port: int
    protocol: str  # "tcp" or "udp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The program to run, and where. Addresses and networks are text in their shortest form."""

    program: str  # SCRIPT, MODULE or CODE
    target: str  # its path, name or text
    arguments: tuple = ()  # the program's own
    link: str | None = None  # "tap", "user", "none"; None: tap if that is permitted, else user
    link_name: str | None = None  # of the TAP
    addresses: tuple = ()  # "10.77.0.2/24", "fd77::2/64", DHCP, AUTO; empty: chosen by the runner
    gateway: tuple = ()  # of one for each version of IP; none: `host_side` of the version's first address
    mtu: int | None = None
    mac: bytes | None = None
    dns: tuple = ()
    kernel: tuple = ()  # networks, "192.0.2.0/24"
    publish: tuple = ()  # of Publish
    nat: bool = False
    impair: str = ""  # for `pystack.device.impairments.parse`
    pcap: str | None = None
    engine: str = "process"  # or "inline"
    offload: str = "on"  # or "checksums": no super-segments; or "off"
    sysctl: dict = field(default_factory=dict)  # for `pystack.sysctl.apply`, which has taken it once
    linger: float = 10.0  # seconds
    stats: bool = False
    verbose: bool = False
    seed: int | None = None


def parse(argv, environ):
    """`Options` of the arguments (without the program's name) and the environment, a mapping; argv wins.

    Raises SystemExit: 0 after --help and --version, 2 after a line on stderr that says what is wrong.
    """
    parser = _parser()
    own, program = _split(list(argv))
    given = vars(parser.parse_args(own))
    try:
        values = {}
        for option in _OPTIONS:
            texts, source = given[option.name], f"--{option.name}"
            if texts is None:
                source = option.variable
                text = environ.get(source, "")
                if not text.strip():
                    continue
                texts = [text]
            try:
                values[option.name] = option.read(texts)
            except (ValueError, StackError) as refusal:
                raise StackError(f"{source}: {refusal}") from None
        return _options(values, program)
    except StackError as refusal:
        parser.error(str(refusal))


def host_side(cidr):
    """The host's address on a TAP whose other side has *cidr*, in the same form: the first of the prefix, or the second
    where that is the stack's own.

    Raises StackError where the prefix has no room for two.
    """
    interface = ip_interface(cidr)
    network = interface.network
    if network.num_addresses < 2:
        raise StackError(
            f"{cidr} leaves no address for the host's side: give a shorter prefix, such as {_shorter(cidr)}"
        )
    first = 0 if network.num_addresses == 2 else 1  # RFC 3021, RFC 6164: a prefix of two has no address to spare
    if network[first] == interface.ip:
        first += 1
    return f"{network[first]}/{network.prefixlen}"


def default_networks(number):
    """The runner's own networks of that number, as `ipaddress` has them: IPv4 and IPv6."""
    return tuple(ip_network(prefix.format(number)) for prefix in _PREFIXES)


def default_network(taken):
    """The first N from 0 to 255 for which none of its `default_networks` overlaps any of *taken*, `ipaddress` networks.

    A default route takes nothing, be it whole or in halves, as VPNs have it; nor does an IPv6 one that is wider than
    the prefix drawn for us, which then is no host's behind it. Raises StackError if there is none.
    """
    narrow = [network for network in taken if network.prefixlen >= (2 if network.version == 4 else _DRAWN)]
    for number in range(256):
        ours = default_networks(number)
        if not any(own.version == network.version and own.overlaps(network) for own in ours for network in narrow):
            return number
    raise StackError(
        "the host has routes for all of 10.77.0.0/16: choose another network, such as --address 192.0.2.2/24"
    )


# Readers: from the texts of one option, as given, to its value; ValueError or StackError says what would be right.


def _last(read):
    return lambda texts: read(texts[-1].strip())


def _each(read):
    """Of an option that can be repeated: separated by commas or blanks too; a tuple without duplicates."""
    return lambda texts: tuple(dict.fromkeys(read(part) for text in texts for part in text.replace(",", " ").split()))


def _choice(*choices):
    def read(text):
        if text not in choices:
            raise ValueError(f"{text!r} is not {', '.join(choices[:-1])} or {choices[-1]}")
        return text

    return read


def _file(text):
    if not text:
        raise ValueError("needs the name of a file")
    return text


def _switch(text):
    if text not in ("0", "1"):
        raise ValueError(f"{text!r} is not 1 or 0")
    return text == "1"


def _integer(least, most, what):
    def read(text):
        if not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
            raise ValueError(f"{text!r} is not {what} from {least} to {most}")
        return int(text)

    return read


def _link(text):
    kind, colon, name = text.partition(":")
    if kind not in ("tap", "user", "none") or (colon and (kind != "tap" or not name)):
        raise ValueError(f"{text!r} is not tap, tap:NAME, user or none")
    if name and (not _NAME.fullmatch(name) or len(name.encode()) > 15 or name in (".", "..")):
        raise ValueError(f"{name!r} cannot be the name of an interface: at most 15 bytes without blank, / or :")
    return kind, name or None


def _address(text):
    if text in (DHCP, AUTO):
        return text
    if "/" not in text:
        raise ValueError(f"{text!r} lacks its prefix length, such as {_shorter(text)}")
    try:
        interface = ip_interface(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an address with its prefix length, such as 10.77.0.2/24") from None
    network = interface.network
    if interface.is_multicast or interface.is_unspecified or interface.is_loopback:
        raise ValueError(f"{text} cannot be the address of a host")
    if network.num_addresses > 2 and (
        interface.ip == network[0] or (interface.version == 4 and interface.ip == network[-1])
    ):
        raise ValueError(f"{text} is the network's own, or its broadcast address; a host's is {network[2]}, for one")
    return interface.with_prefixlen


def _shorter(cidr):
    address = cidr.partition("/")[0]
    return f"{address}/{64 if ':' in address else 24}"


def _host(text):
    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError(f"{text!r} is not an address, such as 10.77.0.1 or fd77::1") from None


def _network(text):
    try:
        return str(ip_network(text))
    except ValueError as refusal:
        if "host bits" in str(refusal):
            raise ValueError(f"{text} has host bits set; meant is {ip_network(text, strict=False)}") from None
        raise ValueError(f"{text!r} is not a network, such as 192.0.2.0/24") from None


def _mac(text):
    if not _MAC.fullmatch(text):
        raise ValueError(f"{text!r} is not an Ethernet address, such as 02:00:00:00:00:01")
    mac = bytes.fromhex(text.replace(":", "").replace("-", ""))
    if mac[0] & 1 or not any(mac):
        raise ValueError(f"{text} is a group's address, or none: the first byte must be even, such as 02")
    return mac


def _publish(text):
    ports, slash, protocol = text.partition("/")
    host, _, port = ports.rpartition(":")
    host, colon, host_port = host.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    right = (
        all(_NUMBER.fullmatch(each) and 1 <= int(each) <= 65_535 for each in (host_port, port))
        and (not slash or protocol in ("tcp", "udp"))
        and (not colon or (host and (bracketed or ":" not in host)))
    )
    if not right:
        raise ValueError(f"{text!r} is not [HOST:]PORT:PORT[/udp], such as 8080:80 or [::1]:5353:53/udp")
    return Publish(_host(host.strip("[]")) if host else _LOOPBACK, int(host_port), int(port), protocol or "tcp")


def _seconds(text):
    if not _SECONDS.fullmatch(text):
        raise ValueError(f"{text!r} is not a number of seconds, such as 10 or 0.5")
    return float(text)


def _sysctl(texts):
    values = {}
    name = None
    for part in " ".join(texts).replace(",", " ").split():
        if "=" in part:
            name, _, value = part.partition("=")
            values[name] = value
        elif name is not None:  # the next number of one value
            values[name] = f"{values[name]} {part}".strip()
        else:
            raise ValueError(f"{part!r} is not NAME=VALUE, such as net.ipv4.tcp_sack=0")
    apply(StackConfig(), values)
    return values


@dataclass(frozen=True, slots=True)
class _Option:
    name: str
    value: str | None  # what --help calls it; None: a flag
    read: object
    help: str
    repeatable: bool = False

    @property
    def variable(self):
        return f"PYSTACK_{self.name.upper()}"


def _option(name, value, read, text):
    return _Option(name, value, _last(read), text)


def _list(name, value, read, text):
    return _Option(name, value, read, text, repeatable=True)


def _flag(name, text):
    return _Option(name, None, _last(_switch), text)


_OPTIONS = (
    _option(
        "link",
        "tap[:NAME]|user|none",
        _link,
        "a TAP device of the host, a gateway that needs no privilege, or the loopback alone "
        "(default: tap if that is permitted, else user)",
    ),
    _list(
        "address",
        "CIDR|dhcp|auto",
        _each(_address),
        "address of the stack; the host's side of a TAP takes the first of the prefix. dhcp: from a DHCP server; "
        "auto: by what IPv6 routers say, and by DHCPv6 if they say so "
        "(default: 10.77.N.2/24 and fdc5:77ab:1b4e:N::2/64, the first N for which the host has no route)",
    ),
    _list("gateway", "ADDRESS", _each(_host), "default router, one for each version of IP (default: the host's side)"),
    _option("mtu", "BYTES", _integer(68, 65_521, "an MTU"), "of the link (default: 1500)"),
    _option("mac", "MAC", _mac, "Ethernet address of the stack (default: at random)"),
    _list("dns", "ADDRESS", _each(_host), "server that resolves names (default: those of /etc/resolv.conf)"),
    _list("kernel", "CIDR", _each(_network), "destinations that stay with the kernel's sockets"),
    _list(
        "publish",
        "[HOST:]PORT:PORT[/udp]",
        _each(_publish),
        "a port of the host (HOST is 127.0.0.1 unless given) that leads to one of the stack",
    ),
    _flag("nat", "let the stack reach beyond the host, by masquerading on a TAP"),
    _option(
        "impair",
        "RULES",
        str,
        "a bad network both ways: loss=1%%, delay=20ms, jitter=5ms, reorder=1%%, duplicate=1%%, corrupt=1%%, "
        "burst=1%%:25%%, rate=10mbit; separated by commas",
    ),
    _option("pcap", "FILE", _file, "record the link's packets for Wireshark"),
    _option(
        "engine",
        "process|inline",
        _choice("process", "inline"),
        "where the stack runs: in a process of its own, or in the program's gevent hub (default: process)",
    ),
    _option(
        "offload",
        "on|checksums|off",
        _choice("on", "checksums", "off"),
        "segments of 64 KB, and checksums left to the device (default: on); checksums alone; or neither",
    ),
    _list("sysctl", "NAME=VALUE", _sysctl, "a setting by Linux's name, such as net.ipv4.tcp_sack=0 (docs/sysctl.md)"),
    _option("linger", "SECONDS", _seconds, "how long connections may finish after the program's end (default: 10)"),
    _flag("stats", "print counters at the end"),
    _flag("verbose", "tell what is set up, and events as they happen"),
    _option(
        "seed",
        "N",
        _integer(0, 999_999_999, "an integer"),
        "of impairments and all else that is drawn, for a run that can be repeated",
    ),
)


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"{self.prog}: {message.replace(chr(10), ' ')} (--help lists the options)\n")


def _parser():
    parser = _Parser(
        prog="pystack.run",
        usage="python -m pystack.run [OPTIONS] SCRIPT [ARGS...]  (or -m MODULE, -c CODE, - for stdin)",
        description="Run a Python program on a TCP/IP stack of its own.",
        epilog="What follows the program is the program's. An option that is not given is taken from its environment "
        "variable: separate the items of one that can be repeated by commas or blanks, and set a flag by 1 or 0. "
        "Options that are given replace the variable; --no-nat, --no-stats and --no-verbose take back its 1.",
        allow_abbrev=False,
    )
    for option in _OPTIONS:
        text = f"{option.help} [{option.variable}{'; repeatable' if option.repeatable else ''}]"
        if option.value is None:
            for name, const in (option.name, ["1"]), (f"no-{option.name}", ["0"]):
                shown = text if const == ["1"] else argparse.SUPPRESS
                parser.add_argument(f"--{name}", dest=option.name, action="store_const", const=const, help=shown)
        else:
            parser.add_argument(f"--{option.name}", dest=option.name, action="append", metavar=option.value, help=text)
    parser.add_argument("--version", action="version", version=f"pystack {__version__}")
    return parser


_TAKE_VALUE = {f"--{option.name}" for option in _OPTIONS if option.value is not None}


def _split(argv):
    """``(the runner's arguments, (kind, target, arguments) or None)``; the program begins as it does for python."""
    at = 0
    while at < len(argv):
        word = argv[at]
        for letter, kind in (("-m", MODULE), ("-c", CODE)):
            if word.startswith(letter):
                target = word[2:] or next(iter(argv[at + 1 :]), None)
                return argv[:at], (kind, target, tuple(argv[at + (1 if word[2:] else 2) :]))
        if word == "--":
            return argv[:at], (SCRIPT, next(iter(argv[at + 1 :]), None), tuple(argv[at + 2 :]))
        if word == "-" or not word.startswith("-"):
            return argv[:at], (SCRIPT, word, tuple(argv[at + 1 :]))
        at += 2 if word in _TAKE_VALUE else 1
    return argv, None


def _options(values, program):
    if program is None or not program[1]:
        wanted = {MODULE: "-m needs the name of a module", CODE: "-c needs Python code"}
        raise StackError(wanted.get(program and program[0], "no program to run: give SCRIPT, -m MODULE or -c CODE"))
    kind, target, arguments = program
    link, link_name = values.pop("link", (None, None))
    addresses = values.pop("address", ())
    options = Options(
        program=kind,
        target=target,
        arguments=arguments,
        link=link,
        link_name=link_name,
        addresses=addresses,
        **values,
    )
    _check(options)
    return options


def _check(options):
    """Raise StackError for options that contradict each other."""
    own = [ip_interface(each).ip for each in options.addresses if each not in (DHCP, AUTO)]
    if len(own) < len(options.addresses) and options.link in ("user", "none"):
        raise StackError(f"--address {DHCP} and {AUTO} ask others on a TAP: they cannot be with --link {options.link}")
    if len(set(own)) < len(own):
        raise StackError("--address: an address is given twice, with two prefix lengths")
    routers = [ip_address(each) for each in options.gateway]
    for router in routers:
        if router in own:
            raise StackError(f"--gateway: {router} is the stack's own address; give another's, or none")
        if sum(each.version == router.version for each in routers) > 1:
            raise StackError(f"--gateway: {router} is the second of IPv{router.version}; there can be one")
    if options.nat and options.link in ("user", "none"):
        raise StackError(f"--nat works on a TAP: it cannot be with --link {options.link}")
    if options.nat and options.addresses and not any(address.version == 4 for address in own):
        raise StackError("--nat masquerades IPv4: it needs an --address such as 10.77.0.2/24")
    entrances = [(each.host, each.host_port, each.protocol) for each in options.publish]
    for entrance in entrances:
        if entrances.count(entrance) > 1:
            raise StackError("--publish: port {1} of {0} ({2}) can lead to one port only".format(*entrance))
