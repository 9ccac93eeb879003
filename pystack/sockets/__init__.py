"""The programs' side of the transports: sockets as objects, in the program's own gevent hub."""
