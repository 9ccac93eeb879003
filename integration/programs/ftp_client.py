"""ftp_client.py ADDRESS PORT active|passive: store, fetch, resume and list by ftplib."""

import ftplib
import io
import sys

from content import content, sha256

SIZE = 10_000_000

if __name__ == "__main__":
    address, port, how = sys.argv[1:]
    with ftplib.FTP(timeout=30) as ftp:
        ftp.connect(address, int(port))
        ftp.login("user", "secret")
        ftp.set_pasv(how == "passive")
        ftp.storbinary("STOR file", io.BytesIO(content(SIZE)))
        got = []
        ftp.retrbinary("RETR file", got.append)
        print(f"got={sha256(b''.join(got))}")
        rest = []
        ftp.retrbinary("RETR file", rest.append, rest=SIZE - 1000)
        print(f"rest={sha256(b''.join(rest))}")
        print(f"size={ftp.size('file')}")
        print(f"list={ftp.nlst()}")
        try:
            ftp.retrbinary("RETR missing", got.append)
        except ftplib.error_perm as error:
            print(f"missing={str(error)[:3]}")
        ftp.quit()
