"""Install the Debian packages that the integration tests talk to, where that is possible and something is missing."""

import fcntl
import os
import shutil
import subprocess
import sys

PACKAGES = {  # command -> Debian package
    "ping": "iputils-ping",
    "arping": "iputils-arping",
    "ip": "iproute2",
    "tcpdump": "tcpdump",
    "tshark": "tshark",
    "ethtool": "ethtool",
    "strace": "strace",
    "gcc": "gcc",
    "dnsmasq": "dnsmasq-base",
    "radvd": "radvd",
    "curl": "curl",
    "redis-server": "redis-server",
    "pg_ctlcluster": "postgresql",  # its servers are not in PATH
}
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def missing():
    """The packages whose command is not there, and CPython's tests and headers for each Python that is Debian's."""
    tools = [package for command, package in PACKAGES.items() if shutil.which(command, path=PATH) is None]
    tools += [f"libpython{version}-testsuite" for version in PYTHONS if lacks(version, "lib", "test/test_socket.py")]
    return tools + [f"libpython{version}-dev" for version in PYTHONS if lacks(version, "include", "Python.h")]


def lacks(version, folder, file):
    """Whether ``pythonX.Y`` is Debian's, which comes without its tests and headers, and has not this *file*."""
    python = shutil.which(f"python{version}", path=PATH)
    if python is None or not os.path.realpath(python).startswith("/usr/bin/"):
        return False
    return not os.path.exists(f"/usr/{folder}/python{version}/{file}")


def main():
    # One at a time: apt-get waits for dpkg's lock, but not for that of its package lists.
    with open(__file__) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        packages = missing()
        if packages and os.geteuid() == 0 and shutil.which("apt-get", path=PATH) is not None:
            install(packages)
            packages = missing()
    if packages:
        what = f"missing: {' '.join(packages)} (as root: apt-get install)"
        if os.environ.get("CI") == "true":
            sys.exit(what)
        print(f"{what}; the tests that need them are skipped")


def install(packages):
    """Ask nothing, and leave it to the caller to see what came of it."""
    # In runlevel 1 invoke-rc.d starts no service: the tests start their own.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
    subprocess.run([*apt, "update"], env=environment, check=False)
    subprocess.run([*apt, "install", "-y", "--no-install-recommends", *packages], env=environment, check=False)


if __name__ == "__main__":
    main()
