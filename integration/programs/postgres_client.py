"""postgres_client.py ADDRESS PORT CA: tables, a large value, an error, COPY and a notice by pg8000."""

import io
import ssl
import sys

import pg8000.native
from content import content, sha256

if __name__ == "__main__":
    address, port, ca = sys.argv[1:]
    context = ssl.create_default_context(cafile=ca)
    for name, secure in (("plain", False), ("tls", context)):
        server = pg8000.native.Connection("postgres", host=address, port=int(port), ssl_context=secure, timeout=30)
        server.run("CREATE TEMPORARY TABLE kept (number integer PRIMARY KEY, body bytea)")
        for number in range(200):
            server.run("INSERT INTO kept VALUES (:n, :b)", n=number, b=content(number))
        [[count, total]] = server.run("SELECT count(*), sum(length(body)) FROM kept")
        print(f"{name}.kept={count} {total}")
        server.run("INSERT INTO kept VALUES (1000, :b)", b=content(5_000_000))
        [[body, digest]] = server.run("SELECT body, encode(sha256(body), 'hex') FROM kept WHERE number = 1000")
        print(f"{name}.body={sha256(body)} {digest}")
        try:
            server.run("INSERT INTO kept VALUES (1, NULL)")
        except pg8000.native.DatabaseError as error:
            print(f"{name}.error={error.args[0]['C']}")
        server.run("CREATE TEMPORARY TABLE copied (number integer)")
        server.run("COPY copied FROM STDIN", stream=io.StringIO("\n".join(map(str, range(50_000))) + "\n"))
        [[copied]] = server.run("SELECT sum(number) FROM copied")
        print(f"{name}.copied={copied}")
        server.run("LISTEN news")
        server.run("NOTIFY news, 'first'")
        server.run("SELECT 1")
        print(f"{name}.heard={server.notifications[0][2]}")
        [[encrypted]] = server.run("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        print(f"{name}.encrypted={encrypted}")
        server.close()
