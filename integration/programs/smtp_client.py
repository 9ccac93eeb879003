"""smtp_client.py ADDRESS PORT CA: a small letter in the clear, a large one after STARTTLS, by smtplib."""

import smtplib
import ssl
import sys

from content import content, sha256

if __name__ == "__main__":
    address, port, ca = sys.argv[1:]
    for name, secure, size in (("small", False, 10), ("large", True, 2_000_000)):
        lines = content(size).hex()
        body = "\r\n".join(lines[at : at + 76] for at in range(0, len(lines), 76)) + "\r\n"
        letter = f"Subject: {name}\r\n\r\n{body}".encode()
        with smtplib.SMTP(address, int(port), local_hostname="client.example", timeout=30) as server:
            if secure:
                server.starttls(context=ssl.create_default_context(cafile=ca))
            refused = server.sendmail("me@example.org", [f"{name}@example.org"], letter)
        print(f"{name}={secure} {sha256(letter)}", flush=True)
        assert refused == {}
