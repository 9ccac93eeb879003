"""The resolver beside libc's, with the same addresses, routes, /etc/hosts and name server."""

import sys
from pathlib import Path

import pytest

from integration.support import namespaces

ROOT = Path(__file__).parent.parent


@pytest.mark.skipif(not namespaces.has("unshare"), reason="needs unshare (Debian: util-linux)")
@pytest.mark.parametrize(
    "configured",
    [
        ("192.0.2.99/24", "2001:db8::99/64"),
        ("192.0.2.99/24",),
        ("2001:db8::99/64",),
        ("10.0.0.99/8", "fd00::99/64"),
        ("192.0.2.99/24", "2001:db8::99/64-"),
        ("169.254.7.7/16", "2002:c000:204::99/64"),
        (),
    ],
    ids=lambda configured: " ".join(configured) or "the loopback alone",
)
def test_answers_are_libcs(configured, namespace, tmp_path):
    """Errors, canonical names and RFC 6724's order, with and without AI_ADDRCONFIG, AI_V4MAPPED and AI_ALL."""
    with namespaces.Namespace() as other:
        namespaces.veth(namespace, "net0", other, "net0")
        namespace.ip("link set net0 down addrgenmode none")  # link-local addresses count as configured
        namespace.ip("link set net0 up")
        for text in configured:
            address, deprecated = text.rstrip("-"), " preferred_lft 0" if text.endswith("-") else ""
            namespace.ip(f"addr add {address} dev net0" + (" nodad" + deprecated if ":" in address else ""))
            namespace.ip(f"{'-6 ' if ':' in address else ''}route add default dev net0")
        command = ["unshare", "-m", sys.executable, "-m", "integration.programs.names_like_libc"]
        done = namespace.run([*command, str(tmp_path), *configured], cwd=ROOT, timeout=120)
    assert done.stdout == "compared\n"
