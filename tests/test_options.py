"""The command line and the environment of python -m pystack.run."""

import pickle
import re
import subprocess
import sys
from ipaddress import ip_interface, ip_network
from pathlib import Path

import pytest

from pystack import __version__
from pystack.errors import StackError
from pystack.options import CODE, MODULE, SCRIPT, Options, Publish, default_network, host_side, parse

ROOT = Path(__file__).parent.parent
NAMES = (
    "link address gateway mtu mac dns kernel publish nat impair pcap engine offload sysctl linger stats verbose seed"
).split()


def parsed(*argv, **environ):
    """Options of argv before the program a.py; the environment without its PYSTACK_."""
    return parse([*argv, "a.py"], {f"PYSTACK_{name}": value for name, value in environ.items()})


def refusal(capsys, *argv, **environ):
    """What is said on stderr, one line, when the program is refused with status 2."""
    with pytest.raises(SystemExit) as end:
        parsed(*argv, **environ)
    assert end.value.code == 2
    out, said = capsys.readouterr()
    assert out == ""
    assert said.startswith("pystack.run: ")
    assert said.count("\n") == 1 and said.endswith("\n")
    return said


def test_defaults():
    assert parse(["a.py"], {}) == Options(program=SCRIPT, target="a.py")
    assert parse(["a.py"], {"PYSTACK_LINK": "", "PYSTACK_MTU": " ", "PYSTACK_FUZZ_FRAMES": "1"}) == parsed()
    plain = parsed()
    assert (plain.link, plain.engine, plain.offload, plain.linger) == (None, "process", "on", 10.0)


@pytest.mark.parametrize(
    ("argv", "program"),
    [
        (["a.py"], (SCRIPT, "a.py", ())),
        (["a.py", "--mtu", "9", "-m", "x"], (SCRIPT, "a.py", ("--mtu", "9", "-m", "x"))),
        (["a.py", "--"], (SCRIPT, "a.py", ("--",))),
        (["-", "x"], (SCRIPT, "-", ("x",))),
        (["--", "-odd.py", "x"], (SCRIPT, "-odd.py", ("x",))),
        (["-m", "http.server", "--help", "80"], (MODULE, "http.server", ("--help", "80"))),
        (["-mhttp.server", "80"], (MODULE, "http.server", ("80",))),
        (["-c", "print(1)", "-c", "2"], (CODE, "print(1)", ("-c", "2"))),
        (["-cpass"], (CODE, "pass", ())),
        (["--link", "none", "a.py", "--link", "tap"], (SCRIPT, "a.py", ("--link", "tap"))),
        (["--link=none", "-m", "x"], (MODULE, "x", ())),
        (["--stats", "a.py", "--verbose"], (SCRIPT, "a.py", ("--verbose",))),
    ],
)
def test_what_follows_the_program_is_its_own(argv, program):
    found = parse(argv, {})
    assert (found.program, found.target, found.arguments) == program


@pytest.mark.parametrize("argv", [[], ["--stats"], ["-m"], ["-c"], ["--"], ["-c", ""], ["--mtu", "1500"]])
def test_no_program_is_refused(argv, capsys):
    with pytest.raises(SystemExit) as end:
        parse(argv, {})
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert re.match("pystack.run: (no program to run: give SCRIPT|-m needs the name|-c needs Python code)", said)
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("link", "tap", {"link": "tap", "link_name": None}),
        ("link", "tap:pystack0", {"link": "tap", "link_name": "pystack0"}),
        ("link", "user", {"link": "user"}),
        ("link", "none", {"link": "none"}),
        ("address", "10.77.3.2/24", {"addresses": ("10.77.3.2/24",)}),
        ("address", "10.0.0.2/255.255.0.0,FD77:0::2/64", {"addresses": ("10.0.0.2/16", "fd77::2/64")}),
        ("address", "10.0.0.0/31", {"addresses": ("10.0.0.0/31",)}),
        ("gateway", "10.77.0.9", {"gateway": ("10.77.0.9",)}),
        ("gateway", "fd77:0::1", {"gateway": ("fd77::1",)}),
        ("mtu", "9000", {"mtu": 9000}),
        ("mac", "02:00:5E:00:00:01", {"mac": bytes.fromhex("02005e000001")}),
        ("dns", "1.1.1.1, fd77::53", {"dns": ("1.1.1.1", "fd77::53")}),
        ("kernel", "192.0.2.0/24 2001:db8::/32 192.0.2.0/24", {"kernel": ("192.0.2.0/24", "2001:db8::/32")}),
        ("kernel", "192.0.2.1", {"kernel": ("192.0.2.1/32",)}),
        ("publish", "8080:80", {"publish": (Publish("127.0.0.1", 8080, 80, "tcp"),)}),
        ("publish", "0.0.0.0:53:5353/udp", {"publish": (Publish("0.0.0.0", 53, 5353, "udp"),)}),
        (
            "publish",
            "[::1]:8080:80/tcp,53:53/udp,53:53",
            {
                "publish": (
                    Publish("::1", 8080, 80, "tcp"),
                    Publish("127.0.0.1", 53, 53, "udp"),
                    Publish("127.0.0.1", 53, 53, "tcp"),
                )
            },
        ),
        ("impair", "loss=1%,delay=20ms", {"impair": "loss=1%,delay=20ms"}),
        ("pcap", "a file.pcapng", {"pcap": "a file.pcapng"}),
        ("engine", "inline", {"engine": "inline"}),
        ("offload", "off", {"offload": "off"}),
        ("offload", "checksums", {"offload": "checksums"}),
        ("offload", "on", {"offload": "on"}),
        ("sysctl", "net.ipv4.tcp_sack=0", {"sysctl": {"net.ipv4.tcp_sack": "0"}}),
        (
            "sysctl",
            "net.ipv4.tcp_rmem=4096 131072 6291456,net.ipv4.tcp_ecn=1 pystack.queue=gevent",
            {
                "sysctl": {
                    "net.ipv4.tcp_rmem": "4096 131072 6291456",
                    "net.ipv4.tcp_ecn": "1",
                    "pystack.queue": "gevent",
                }
            },
        ),
        ("linger", "0", {"linger": 0.0}),
        ("linger", "2.5", {"linger": 2.5}),
        ("seed", "7", {"seed": 7}),
    ],
)
def test_an_option_and_its_variable_mean_the_same(name, text, values):
    expected = Options(program=SCRIPT, target="a.py", **values)
    assert parsed(f"--{name}", text) == expected
    assert parsed(f"--{name}={text}") == expected
    assert parsed(**{name.upper(): text}) == expected


@pytest.mark.parametrize("name", ["nat", "stats", "verbose"])
def test_a_flag(name):
    variable = name.upper()
    assert getattr(parsed(f"--{name}"), name) is True
    assert getattr(parsed(**{variable: "1"}), name) is True
    assert getattr(parsed(**{variable: "0"}), name) is False
    assert getattr(parsed(f"--no-{name}", **{variable: "1"}), name) is False
    assert getattr(parsed(f"--{name}", **{variable: "0"}), name) is True


def test_the_command_line_wins():
    found = parsed("--mtu", "1400", "--dns", "1.1.1.1", MTU="9000", DNS="9.9.9.9", SEED="3")
    assert (found.mtu, found.dns, found.seed) == (1400, ("1.1.1.1",), 3)
    assert parsed("--mtu", "1400", MTU="nonsense").mtu == 1400


def test_repeated_options():
    assert parsed("--dns", "1.1.1.1", "--dns", "9.9.9.9,8.8.8.8").dns == ("1.1.1.1", "9.9.9.9", "8.8.8.8")
    assert parsed("--mtu", "1400", "--mtu", "1300").mtu == 1300
    found = parsed("--sysctl", "net.ipv4.tcp_sack=0", "--sysctl", "net.ipv4.tcp_rmem=4096 8192 16384")
    assert found.sysctl == {"net.ipv4.tcp_sack": "0", "net.ipv4.tcp_rmem": "4096 8192 16384"}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("link", "tun", "'tun' is not tap, tap:NAME, user or none"),
        ("link", "tap:", "is not tap"),
        ("link", "user:x", "is not tap"),
        ("link", "tap:a/b", "cannot be the name of an interface"),
        ("link", "tap:sixteen-bytes-xx", "at most 15 bytes"),
        ("link", "tap:" + "ä" * 8, "at most 15 bytes"),
        ("address", "10.77.0.2", "lacks its prefix length, such as 10.77.0.2/24"),
        ("address", "fd77::2", "such as fd77::2/64"),
        ("address", "10.77.0.256/24", "is not an address with its prefix length"),
        ("address", "10.77.0.2/33", "is not an address with its prefix length"),
        ("address", "10.77.0.0/24", "10.77.0.2, for one"),
        ("address", "10.77.0.255/24", "broadcast"),
        ("address", "127.0.0.1/8", "cannot be the address of a host"),
        ("address", "224.0.0.1/24", "cannot be the address of a host"),
        ("address", "10.0.0.2/24,10.0.0.2/16", "given twice"),
        ("gateway", "10.77.0.1/24", "is not an address"),
        ("gateway", "host", "is not an address"),
        ("mtu", "67", "'67' is not an MTU from 68 to 65521"),
        ("mtu", "1e3", "is not an MTU"),
        ("mac", "02:00:00:00:00", "is not an Ethernet address"),
        ("mac", "01:00:5e:00:00:01", "the first byte must be even"),
        ("dns", "1.1.1.1,dns.example", "'dns.example' is not an address"),
        ("kernel", "192.0.2.1/24", "meant is 192.0.2.0/24"),
        ("kernel", "x", "is not a network"),
        ("publish", "80", "is not [HOST:]PORT:PORT[/udp]"),
        ("publish", "0:80", "is not [HOST:]PORT:PORT"),
        ("publish", "80:65536", "is not [HOST:]PORT:PORT"),
        ("publish", "80:80/sctp", "is not [HOST:]PORT:PORT"),
        ("publish", "80:80/", "is not [HOST:]PORT:PORT"),
        ("publish", ":80:80", "is not [HOST:]PORT:PORT"),
        ("publish", "::1:80:80", "is not [HOST:]PORT:PORT"),
        ("publish", "localhost:80:80", "'localhost' is not an address"),
        ("publish", "80:80,80:81", "port 80 of 127.0.0.1 (tcp) can lead to one port only"),
        ("engine", "thread", "'thread' is not process or inline"),
        ("offload", "1", "'1' is not on, checksums or off"),
        ("sysctl", "net.ipv4.tcp_sack", "is not NAME=VALUE"),
        ("sysctl", "tcp_sack=0", "meant is net.ipv4.tcp_sack"),
        ("sysctl", "net.ipv4.tcp_sack=2", "'2' is not 0 or 1"),
        ("linger", "forever", "is not a number of seconds"),
        ("linger", "inf", "is not a number of seconds"),
        ("seed", "x", "is not an integer from 0"),
    ],
)
def test_bad_values_are_refused_where_they_stand(name, text, said, capsys):
    line = refusal(capsys, f"--{name}", text)
    assert said in line and line.startswith(f"pystack.run: --{name}: ")
    line = refusal(capsys, **{name.upper(): text})
    assert said in line
    assert f"PYSTACK_{name.upper()}: " in line or f"--{name}: " in line


@pytest.mark.parametrize(
    ("argv", "environ", "said"),
    [
        (["--lnik", "tap"], {}, "--lnik"),
        (["--stat"], {}, "--stat"),  # no abbreviations: they would change with the next option
        (["-x"], {}, "-x"),
        (["--seed", "-1"], {}, "'-1' is not an integer"),
        (["--pcap="], {}, "needs the name of a file"),
        (["--odd\nname"], {}, "--odd name"),
        ([], {"STATS": "yes"}, "PYSTACK_STATS: 'yes' is not 1 or 0"),
        (["--nat", "--link", "user"], {}, "--nat works on a TAP"),
        (["--nat", "--address", "dhcp"], {}, "--nat masquerades IPv4"),
        (["--nat", "--address", "fd77::2/64"], {}, "--nat masquerades IPv4"),
        (["--address", "10.0.0.1/24", "--gateway", "10.0.0.1"], {}, "is the stack's own address"),
    ],
)
def test_other_mistakes(argv, environ, said, capsys):
    assert said in refusal(capsys, *argv, **environ)


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_everything_with_its_variable(flag, capsys):
    with pytest.raises(SystemExit) as end:
        parse([flag], {})
    assert end.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for name in NAMES:
        assert f"--{name}" in text
        assert f"[PYSTACK_{name.upper()}" in text
    assert "loss=1%," in text
    listed = set(re.findall(r" --([a-z]+) ", text))
    assert listed - {"help", "version"} == set(NAMES), "name the new ones here"


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        parse(["--version"], {})
    assert end.value.code == 0
    assert capsys.readouterr().out == f"pystack {__version__}\n"


def test_options_cross_to_another_process():
    found = parsed("--publish", "80:80", "--sysctl", "net.ipv4.tcp_sack=0")
    assert pickle.loads(pickle.dumps(found)) == found
    with pytest.raises(AttributeError):
        found.mtu = 1


@pytest.mark.parametrize(
    ("cidr", "expected"),
    [
        ("10.77.0.2/24", "10.77.0.1/24"),
        ("10.77.0.1/24", "10.77.0.2/24"),
        ("10.77.5.9/16", "10.77.0.1/16"),
        ("10.0.0.1/30", "10.0.0.2/30"),
        ("10.0.0.0/31", "10.0.0.1/31"),
        ("10.0.0.1/31", "10.0.0.0/31"),
        ("fd77::2/64", "fd77::1/64"),
        ("fd77::1/64", "fd77::2/64"),
        ("fd77::/127", "fd77::1/127"),
        ("fd77::1/127", "fd77::/127"),
    ],
)
def test_the_hosts_side_is_the_first_address_or_the_second(cidr, expected):
    assert host_side(cidr) == expected
    assert ip_interface(expected).network == ip_interface(cidr).network


@pytest.mark.parametrize(("cidr", "shorter"), [("10.0.0.1/32", "10.0.0.1/24"), ("fd77::1/128", "fd77::1/64")])
def test_a_prefix_of_one_has_no_room_for_the_host(cidr, shorter):
    with pytest.raises(StackError, match=shorter):
        host_side(cidr)


@pytest.mark.parametrize(
    ("taken", "number"),
    [
        ([], 0),
        (["10.77.0.0/24"], 1),
        (["10.77.0.1/32", "10.77.2.0/24"], 1),
        (["10.77.0.0/23", "10.77.2.128/25"], 3),
        (["10.77.0.0/17", "192.168.0.0/16"], 128),
        (["0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "::/0", "fd77::/64"], 0),
        (["fc00::/7", "fd00::/8", "fdc5:77ab:1b4e::/64"], 1),
    ],
)
def test_default_network_is_the_first_that_nobody_uses(taken, number):
    assert default_network([ip_network(each) for each in taken]) == number


def test_default_network_fails_where_all_are_taken():
    with pytest.raises(StackError, match="--address"):
        default_network([ip_network("10.0.0.0/8")])


def test_the_import_is_light():
    script = (
        "import sys, pystack.options\n"
        "loaded = {'socket', '_socket', 'asyncio', 'gevent', 'ssl', 'threading', 'select'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-S", "-c", script], check=True, cwd=ROOT)
