"""inherited_listener.py ADDRESS PORT COUNT: the socket listens here; a Python child serves COUNT echoes on it.

The parent closes it, waits for the child, and says how it ended.
"""

import socket
import subprocess
import sys

from versions import family


def serve(descriptor, count):
    with socket.socket(fileno=descriptor) as listener:
        print(f"child={listener.family.name} {listener.type.name} {listener.getsockname()}\n", end="", flush=True)
        for _ in range(count):
            connection, _ = listener.accept()
            with connection:
                while piece := connection.recv(1 << 16):
                    connection.sendall(piece)


def main(address, port, count):
    with socket.create_server((address, port), family=family(address), backlog=16) as listener:
        number = listener.fileno()
        argv = [sys.executable, __file__, "--child", str(number), str(count)]
        child = subprocess.Popen(argv, pass_fds=[number])
    print("ready\n", end="", flush=True)  # in one piece, as the child's line: they may come together
    print(f"status={child.wait(timeout=60)}")


if __name__ == "__main__":
    if sys.argv[1] == "--child":
        serve(int(sys.argv[2]), int(sys.argv[3]))
    else:
        main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
