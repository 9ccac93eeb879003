"""Linux's names for the settings of a stack."""

from dataclasses import fields
from pathlib import Path

import pytest

from pystack import sysctl
from pystack.config import Ipv6Config, StackConfig, TcpConfig, UdpConfig
from pystack.errors import StackError

ROOT = Path(__file__).parent.parent
CONFIG = StackConfig()


def test_every_field_has_one_name():
    everything = {("", each.name) for each in fields(StackConfig) if each.name not in ("tcp", "udp", "ipv6")}
    everything |= {("tcp", each.name) for each in fields(TcpConfig)}
    everything |= {("udp", each.name) for each in fields(UdpConfig)}
    everything |= {("ipv6", each.name) for each in fields(Ipv6Config)}
    named = [(setting.section, setting.field) for setting in sysctl.TABLE.values()]
    assert sorted(named) == sorted(everything)
    assert len(sysctl.TABLE) == len(named)


def test_names_that_linux_has_are_there():
    """Where /proc has no such file (another kernel, a namespace that hides it) there is nothing to compare with."""
    proc = Path("/proc/sys/net/ipv4")
    if not (proc / "tcp_rto_max_ms").exists():
        pytest.skip("needs Linux 6.15, the first with all of them")
    for name in sysctl.TABLE:
        if name.startswith("net.ipv4."):
            assert Path("/proc/sys", *name.split(".")).exists(), name


def test_the_page_is_up_to_date():
    assert (ROOT / "docs" / "sysctl.md").read_text() == sysctl.page(), "run python -m pystack.sysctl > docs/sysctl.md"


def test_what_is_printed_can_be_applied():
    printed = sysctl.values(CONFIG)
    assert len(printed) == len(sysctl.TABLE)
    assert sysctl.apply(CONFIG, printed) == CONFIG
    assert printed == {name: setting.default for name, setting in sysctl.TABLE.items()}


@pytest.mark.parametrize(
    ("name", "text", "section", "field", "value"),
    [
        ("net.ipv4.tcp_rmem", "4096 131072 6291456", "tcp", "tcp_rmem", (4096, 131_072, 6_291_456)),
        ("net.ipv4.tcp_rmem", "4096\t131072\t6291456\n", "tcp", "tcp_rmem", (4096, 131_072, 6_291_456)),
        ("net/ipv4/tcp_sack", "0", "tcp", "tcp_sack", False),
        ("net.ipv4.tcp_ecn", "1", "tcp", "tcp_ecn", 1),
        ("net.core.somaxconn", "128", "tcp", "somaxconn", 128),
        ("net.ipv4.tcp_mem", "1048576", "tcp", "tcp_mem", 1 << 20),
        ("net.ipv4.tcp_congestion_control", "reno", "tcp", "tcp_congestion_control", "reno"),
        ("net.ipv4.tcp_rto_min_us", "5000", "tcp", "tcp_rto_min", 0.005),
        ("net.ipv4.tcp_rto_max_ms", "20000", "tcp", "tcp_rto_max", 20.0),
        ("net.ipv4.tcp_invalid_ratelimit", "0", "tcp", "tcp_invalid_ratelimit", 0.0),
        ("net.ipv4.icmp_ratelimit", "250", "", "icmp_ratelimit", 0.25),
        ("net.ipv4.ip_local_port_range", "1024 65535", "", "ip_local_port_range", (1024, 65_535)),
        ("net.ipv4.ip_default_ttl", "128", "", "default_ttl", 128),
        ("net.ipv4.ipfrag_time", "2.5", "", "reassembly_timeout", 2.5),
        ("pystack.time_wait", "0.5", "tcp", "time_wait", 0.5),
        ("pystack.queue", "gevent", "", "queue", "gevent"),
        ("net.core.rmem_default", "4096", "udp", "rmem_default", 4096),
    ],
)
def test_a_value_reaches_its_field_alone(name, text, section, field, value):
    config = sysctl.apply(CONFIG, {name: text})
    assert getattr(getattr(config, section) if section else config, field) == value
    before, after = sysctl.values(CONFIG), sysctl.values(config)
    assert {each for each in before if before[each] != after[each]} == {name.replace("/", ".")}


def test_several_values_at_once():
    config = sysctl.apply(CONFIG, {"net.ipv4.tcp_sack": "0", "net.ipv4.tcp_ecn": "0", "net.core.wmem_default": "4096"})
    assert (config.tcp.tcp_sack, config.tcp.tcp_ecn, config.udp.wmem_default) == (False, 0, 4096)
    assert CONFIG.tcp.tcp_sack  # a copy was made
    assert sysctl.apply(CONFIG, {}) == CONFIG


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("tcp_rmem", "1", "unknown sysctl 'tcp_rmem', meant is net.ipv4.tcp_rmem; docs/sysctl.md lists all"),
        ("net.ipv4.tcp_rto_min", "1", "meant is net.ipv4.tcp_rto_min_us"),
        ("net.ipv4.tcp_fastopen", "1", "unknown sysctl 'net.ipv4.tcp_fastopen'; docs"),
        ("net.ipv4.tcp_rmem", "4096 131072", "is not 3 rising integers from 2048 to 1073741824 (bytes)"),
        ("net.ipv4.tcp_rmem", "6291456 131072 4096", "is not 3 rising integers"),
        ("net.ipv4.tcp_rmem", "4096,131072,6291456", "is not 3 rising integers"),
        ("net.ipv4.tcp_mem", "287901 383868 575802", "is not an integer from 65536 to 1099511627776 (bytes)"),
        ("net.ipv4.tcp_sack", "2", "'2' is not 0 or 1"),
        ("net.ipv4.tcp_sack", "yes", "'yes' is not 0 or 1"),
        ("net.ipv4.tcp_ecn", "3", "'3' is not an integer from 0 to 2"),
        ("net.ipv4.tcp_ecn", "", "'' is not an integer"),
        ("net.ipv4.tcp_ecn", "-1", "is not an integer"),
        ("net.ipv4.tcp_ecn", "0x1", "is not an integer"),
        ("net.ipv4.tcp_ecn", "1_0", "is not an integer"),
        ("net.ipv4.tcp_ecn", "9" * 5000, "is not an integer"),
        ("net.ipv4.tcp_rto_min_us", "1", "is not an integer from 1000 to 120000000 (microseconds)"),
        ("net.ipv4.tcp_rto_min_us", "0.2", "is not an integer"),
        ("pystack.time_wait", "inf", "is not a number from 0.001 to 3600 (seconds)"),
        ("pystack.time_wait", "nan", "is not a number"),
        ("pystack.queue", "pipe", "is not gevent or mailbox"),
    ],
)
def test_bad_values_are_refused_with_what_would_be_right(name, text, said):
    with pytest.raises(StackError) as refusal:
        sysctl.apply(CONFIG, {name: text})
    assert said in str(refusal.value)
