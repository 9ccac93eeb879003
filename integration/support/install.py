"""Install the Debian packages that the integration tests talk to, where that is possible and something is missing."""

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
}
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def missing():
    """The packages whose command is not there."""
    return [package for command, package in PACKAGES.items() if shutil.which(command, path=PATH) is None]


def main():
    packages = missing()
    if not packages:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"missing: {' '.join(packages)}; install them (as root: apt-get install), their tests are skipped")
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
    subprocess.run([*apt, "update"], env=environment, check=False)
    done = subprocess.run([*apt, "install", "-y", "--no-install-recommends", *packages], env=environment, check=False)
    if done.returncode or missing():
        sys.exit(f"apt-get could not install: {' '.join(missing())}")


if __name__ == "__main__":
    main()
