"""Names that a program looks up, by the stack, at a real dnsmasq on the other side."""

import shutil

import pytest

from integration.support.install import PATH
from integration.support.programs import Runner
from integration.test_resolver import FLAGS, MANY, RECORDS

DNSMASQ = shutil.which("dnsmasq", path=PATH)
ASCII = [record for record in RECORDS if record.isascii()]  # the locale is C
CODE = """
import socket
print("four=%r" % socket.gethostbyname("four.example"))
print("alias=%r" % socket.getaddrinfo("alias.example", 80, socket.AF_INET, socket.SOCK_STREAM)[0][4][0])
print("many=%d" % len(socket.gethostbyname_ex("many.example")[2]))
print("reverse=%r" % (socket.gethostbyaddr("198.51.100.4")[0],))
print("local=%r" % socket.gethostbyname("localhost"))
try:
    socket.create_connection(("none.example", 80))
except socket.gaierror as error:
    print("none=%d" % (error.errno == socket.EAI_NONAME))
"""


@pytest.mark.skipif(DNSMASQ is None, reason="needs dnsmasq (Debian: dnsmasq-base)")
@pytest.mark.parametrize("flavour", ["tap", "user"])
@pytest.mark.parametrize("engine", ["process", "inline"])
def test_names_are_asked_for_through_the_stack(flavour, engine, namespace):
    namespace.ip("addr add 192.0.2.1/32 dev lo")
    with Runner(flavour, namespace) as runner:
        hosts = runner.file("hosts", "".join(f"{address} many.example\n" for address in MANY).encode())
        runner.start_command_here(DNSMASQ, *FLAGS, "--port=53", f"--addn-hosts={hosts}", *ASCII).until(str(hosts))
        facts = runner.run("-c", CODE, options=["--dns", "192.0.2.1", "--engine", engine]).facts()
    assert facts == {
        "four": "'198.51.100.4'",
        "alias": "'198.51.100.1'",
        "many": "100",
        "reverse": "'four.example'",
        "local": "'127.0.0.1'",
        "none": "1",
    }
