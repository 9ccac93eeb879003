"""fork_transfer.py ADDRESS PORT SIZE: fork in the middle of sending.

The child writes the second quarter on the inherited socket and opens a connection of its own; the parent waits for it,
writes the rest and reads the answer.
"""

import os
import socket
import sys

from content import content


def main(address, port, size):
    body, quarter = memoryview(content(size)), size // 4
    with socket.create_connection((address, port), timeout=60) as connection:
        connection.sendall(body[:quarter])
        child = os.fork()
        if child == 0:
            connection.sendall(body[quarter : 2 * quarter])
            connection.close()  # no FIN: the parent has it too
            with socket.create_connection((address, port), timeout=60) as own:
                own.sendall(body[:1000])
                own.shutdown(socket.SHUT_WR)
                with own.makefile() as stream:
                    print(f"child={stream.readline().rstrip()}", flush=True)
            os._exit(7)
        print(f"status={os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}")
        connection.sendall(body[2 * quarter :])
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile() as stream:
            print(f"parent={stream.readline().rstrip()}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
