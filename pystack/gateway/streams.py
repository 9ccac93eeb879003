"""TCP: each connection of the program's is relayed to one of the kernel's, and the reverse for published ports."""

import errno
import logging

import gevent
from gevent.event import AsyncResult, Event

from pystack.errors import StackStopped
from pystack.gateway import kernel
from pystack.gateway.destinations import UNREACHABLE_BY_ERRNO
from pystack.gateway.gate import DROP, PASS, REFUSE, Approach, Verdict

CHUNK = 256 * 1024  # bytes read in one go; what one side has not taken is not followed by more
ACCEPT_TIME = 70.0  # seconds for the program's end to complete the handshake: as long as SYN-ACKs are repeated
MAX_RELAYS = 4096  # connections, those included that are not decided yet; beyond it SYNs are dropped

_VERDICTS = {
    errno.ECONNREFUSED: REFUSE,
    errno.ECONNRESET: REFUSE,
    **UNREACHABLE_BY_ERRNO,
}  # else DROP: a time out is the program's own, and a shortage may pass

log = logging.getLogger("pystack.gateway")


class StreamRelay:
    """Two greenlets for each connection, and one for whoever waits.

    Args:
        decide: ``decide(verdict)``, the way to the gate.
        connect: ``connect(to)``, a `TcpStream` to what a published port leads to, as `publish` is told; raises OSError.
        destinations: a `Destinations`.
    """

    def __init__(self, decide, connect, destinations):
        self._decide = decide
        self._connect = connect
        self._destinations = destinations
        self._greenlets = {}  # of those that connect and relay; a pool that can be asked
        self._opening = {}  # flow -> (greenlet, AsyncResult): the gate waits for us, or we for the handshake
        self._relays = set()
        self._listeners = []
        self._freed = Event()  # a descriptor is free again

    # -- what is there ------------------------------------------------------------------------------------------------

    @property
    def idle(self):
        """Whether all that has come from either side has been passed on to the other."""
        return not self._opening and not any(relay.busy for relay in self._relays)

    def __len__(self):
        return len(self._relays)

    # -- the program connects -----------------------------------------------------------------------------------------

    def put(self, batch):
        """Take what the gate says: `Approach` and `Withdrawn`."""
        for event in batch:
            if type(event) is not Approach:
                self._withdraw(event.flow)
            elif len(self._greenlets) >= MAX_RELAYS:
                self._decide(Verdict(event.flow, DROP))
            else:
                accepted = AsyncResult()
                self._opening[event.flow] = self._spawn(self._open, event, accepted), accepted

    def serve(self, listener):
        """Take the connections of the `TcpListener` that TCP has for every port."""
        self._spawn(self._accept, listener)

    def _accept(self, listener):
        while True:
            stream = listener.accept()
            (remote, remote_port), (local, port) = stream.remote, stream.local
            flow = remote + local + remote_port.to_bytes(2, "big") + port.to_bytes(2, "big")
            opening = self._opening.get(flow)
            if opening is None or opening[1].ready():
                stream.abort()
            else:
                opening[1].set(stream)

    def _open(self, approach, accepted):
        flow = approach.flow
        outside = None
        try:
            try:
                outside = kernel.Connection.open(*self._destinations.of(*approach.destination))
            except OSError as error:
                if self._destinations.is_dns(*approach.destination):
                    self._destinations.failed()
                self._decide(Verdict(flow, _VERDICTS.get(error.errno, DROP)))
                return
            self._decide(Verdict(flow, PASS))
            try:
                stream = accepted.get(timeout=ACCEPT_TIME)
            except gevent.Timeout:
                return
            del self._opening[flow]
            outside, taken = None, outside
            self._relay(stream, taken)
        finally:
            self._opening.pop(flow, None)
            if outside is not None:
                outside.reset()

    def _withdraw(self, flow):
        greenlet, _ = self._opening.pop(flow, (None, None))
        if greenlet is not None:
            greenlet.kill(block=False)

    # -- somebody connects to a published port ------------------------------------------------------------------------

    def publish(self, address, port, to):
        """Relay connections to the kernel's *address* (text) and *port* to *to*, as *connect* takes it. Raises OSError.

        Returns:
            the kernel's port, which was free if *port* is 0.
        """
        listener = kernel.Listener(address, port)
        self._listeners.append(listener)
        self._spawn(self._serve_published, listener, to)
        return listener.port

    def _serve_published(self, listener, to):
        while True:
            try:
                outside = listener.accept()
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    raise
                log.warning("a published port cannot accept: %s", error)
                self._freed.clear()
                self._freed.wait()
                continue
            self._spawn(self._open_published, outside, to)
            while len(self._greenlets) >= MAX_RELAYS:
                self._freed.clear()
                self._freed.wait()

    def _open_published(self, outside, to):
        try:
            stream = self._connect(to)
        except BaseException as error:
            outside.reset()
            if not isinstance(error, OSError):
                raise
            return
        self._relay(stream, outside)

    # -- both ---------------------------------------------------------------------------------------------------------

    def close(self):
        """Reset what is not over, and close all; at once, unless it is the hub that does it."""
        gevent.killall(list(self._greenlets), block=gevent.getcurrent() is not gevent.get_hub())
        for listener in self._listeners:
            listener.close()

    def abandon(self):
        """In a forked child: nothing goes on here."""
        gevent.killall(list(self._greenlets), block=False)

    def _relay(self, stream, outside):
        relay = Relay(stream, outside)
        self._relays.add(relay)
        try:
            relay.run()
        finally:
            self._relays.discard(relay)

    def _spawn(self, function, *args):
        greenlet = gevent.spawn(self._run, function, *args)
        self._greenlets[greenlet] = None
        greenlet.rawlink(self._ended)
        return greenlet

    def _run(self, function, *args):
        try:
            function(*args)
        except StackStopped:
            pass  # and all else with it

    def _ended(self, greenlet):
        self._greenlets.pop(greenlet, None)
        self._freed.set()


class Relay:
    """One connection, *inside* a TcpStream and *outside* a `kernel.Connection`; a reset of either is one of both."""

    def __init__(self, inside, outside):
        self._inside = inside
        self._outside = outside
        self._out_held = False  # read from one side, not yet taken by the other
        self._in_held = False
        self._out_ended = False
        self._failed = False

    @property
    def busy(self):
        """Whether something has come from the program, or been read from outside, and not been passed on."""
        inside = self._inside
        return self._out_held or self._in_held or inside.unread > 0 or (inside.ended and not self._out_ended)

    def run(self):
        """Relay until both ways have ended, or one side has failed."""
        inward = gevent.spawn(self._inward, gevent.getcurrent())
        whole = False
        try:
            self._outward()
            inward.join()
            whole = not self._failed
        except OSError:
            pass  # whatever it was, the other side sees a reset
        finally:
            self._out_ended = True
            inward.kill()
            if whole:
                self._inside.close()
                self._outside.close()
            else:
                self._outside.reset()
                self._inside.abort()

    def _outward(self):
        inside, outside = self._inside, self._outside
        while data := inside.recv(CHUNK):
            self._out_held = True
            outside.sendall(data)
            self._out_held = False
        outside.shutdown()
        self._out_ended = True
        inside.await_end()  # from now on only a reset can come

    def _inward(self, parent):
        inside, outside = self._inside, self._outside
        try:
            while data := outside.recv(CHUNK):
                self._in_held = True
                inside.sendall(data)
                self._in_held = False
            inside.shutdown()
            outside.await_end()
        except (OSError, StackStopped):
            self._in_held = False
            self._failed = True
            parent.kill(block=False)
