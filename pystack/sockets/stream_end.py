"""The engine's end of a TCP socket: unconnected, connecting, connected, or listening (then with a `Backlog`)."""

import errno
import fcntl
import struct
from socket import AF_INET, AF_INET6, SHUT_RD, SHUT_RDWR, SHUT_WR, SO_OOBINLINE, SO_RCVBUF, SO_SNDBUF, SOL_SOCKET

from pystack import transport
from pystack.sockets import options, options6, protocol
from pystack.sockets.attempt import Attempt
from pystack.sockets.backlog import Backlog
from pystack.sockets.ends import End, refusal
from pystack.sockets.outflow import Outflow
from pystack.sockets.poller import ENDING, READ, URGENT, WRITE

LITTLE = 1024  # bytes read that TCP need not be told of at once, as they hardly narrow a window
CHUNK = 65_536  # bytes of one read, and so of one segment where the device takes large ones
READS = 16  # in one turn; whoever has more has another turn
_SIOCATMARK = 0x8905
_MULTICAST = 224
_RUBBISH = bytearray(CHUNK)


class StreamEnd(End):
    """Bytes from the program go to TCP as far as it has Room; bytes from TCP go into the pair, and what does not fit
    waits here, not yet Consumed, so that the peer's window closes.

    When the connection is over the pair is closed, and this stays known for a while as a tombstone, for a program that
    asks why.
    """

    transport = "tcp"
    options = {AF_INET: options.TCP, AF_INET6: options6.TCP6}

    def __init__(self, service, family, inode, sock, number):
        super().__init__(service, family, inode, sock, number)
        self.backlog = None  # once it listens
        self.waits = False  # for a pair, in a `Backlog`
        self.offered_in = None  # the `Backlog` in whose listener's pair it is, as far as we know
        self._state = protocol.FRESH
        self._room = 0  # bytes that TCP takes
        self._plug = 0  # bytes in the pair that are no data: they keep it from polling writable
        self._attempt = Attempt()
        self._lost = False  # TCP has forgotten options and port
        self._readable = False  # there may be something in the pair
        self._ending = False  # the program has ended its sending side, or let go: the pair is to be read up to that
        self._hung_up = False
        self._shut = False  # the program has ended its sending side
        self._ended = False  # the peer has
        self._finished = False  # TCP knows the connection no more
        self._outflow = Outflow(sock)
        self._marks = False  # the program sends urgent data

    def state(self):
        return self._state

    # -- requests of the program --------------------------------------------------------------------------------------

    def connect(self, address, port, plug, waits, reply):
        if address is None:
            self.unplug(plug)
            reply(errno.EAFNOSUPPORT)
            return
        if self._state != protocol.FRESH or self.error:
            self.unplug(plug)
            reply(self._connect_again())
            return
        group = address[0] >= _MULTICAST if len(address) == 4 else address[0] == 0xFF
        if group or not port:
            # Linux: ENETUNREACH for groups and broadcasts; a port of 0 is refused by the peer, as nobody listens there.
            self.unplug(plug)
            reply(errno.ENETUNREACH if group else errno.ECONNREFUSED)
            return
        self._state = protocol.CONNECTING
        self._plug = plug
        self._attempt.begin()
        self._restore()
        self.post(transport.Connect(self.number, address, port))
        self._service.endpoints.flush()
        if waits:
            self._attempt.wait(reply)
            if self._state != protocol.CONNECTING:
                self._attempt.over(self.take_error())
        elif self._state == protocol.CONNECTED:
            reply(0)
        elif self._state == protocol.FRESH and self.error != errno.ECONNREFUSED:
            reply(self.take_error())
        else:
            self._attempt.told = False
            reply(errno.EINPROGRESS)

    def give_up(self, plug):
        lost = self._attempt.give_up()
        if self._state == protocol.FRESH and self.unplug(plug) < plug:
            return  # the request to connect was never sent; what was lost, if anything, is of an earlier one
        if lost:
            self.error = lost

    def _connect_again(self):
        if self._state == protocol.CONNECTING:
            return errno.EALREADY
        if self.error:
            return self.take_error()
        if self._state == protocol.CONNECTED:
            told, self._attempt.told = self._attempt.told, True
            return errno.EISCONN if told else 0
        return errno.EISCONN if self._state == protocol.LISTENING else errno.ECONNABORTED

    def _restore(self):
        """TCP forgets a socket whose attempt to connect has failed; the program's may try again."""
        if self._lost:
            self._lost = False
            for setting, value in self.values.items():
                if setting in _TRANSPORT_SETTINGS:
                    self.post(transport.SetOption(self.number, setting, value))
            if self._bound_by_program is not None:
                self.post(self._bound_by_program)

    def listen(self, backlog, reply):
        if self._state in (protocol.LISTENING, protocol.FRESH):
            self._restore()
            self.post(transport.SetOption(self.number, "reuse_address", self.values.get("reuse_address", False)))
            self.ask(transport.Listen(self.number, backlog), lambda number, _=b"": self._listening(number, reply))
        else:
            reply(errno.EINVAL)

    def _listening(self, number, reply):
        if number == 0 and self.backlog is None:
            self._state = protocol.LISTENING
            self.backlog = Backlog(self._service, self)
            self.review_interest()
        reply(number)

    def bind(self, address, port, owner, reply):
        if self._state != protocol.FRESH:
            reply(errno.EINVAL)
        else:
            self._restore()
            super().bind(address, port, owner, reply)

    def set_option(self, level, name, value, reply):
        if (level, name) == (options.IPPROTO_TCP, 2) and 0 < options.read_int(value) < 88:  # TCP_MIN_MSS
            raise refusal(errno.EINVAL)
        super().set_option(level, name, value, reply)
        if (level, name) == (SOL_SOCKET, SO_RCVBUF) and self.sock is not None:
            self.limit_pair(self.sock)

    def limit_pair(self, ours, theirs=None):
        """What waits in the pair is in the receive buffer, too, or in the send buffer; the program limits that one
        itself where it can."""
        if "receive_buffer" in self.values:
            ours.setsockopt(SOL_SOCKET, SO_SNDBUF, self.values["receive_buffer"] // 2)
        if theirs is not None and "send_buffer" in self.values:
            theirs.setsockopt(SOL_SOCKET, SO_SNDBUF, self.values["send_buffer"] // 2)

    def get_option(self, level, name, room, reply):
        connected = self._state in (protocol.CONNECTING, protocol.CONNECTED) and not self._finished
        if (level, name) == options.TCP_INFO:
            if connected:
                self._ask_info(lambda info: reply(0, self._pack_info(info)[:room]))
            else:
                reply(0, self._pack_info(None)[:room])
        elif (level, name) == (options.IPPROTO_TCP, 2) and connected:
            self._ask_info(lambda info: reply(0, options.write_int(info.snd_mss if info else 0)[:room]))
        else:
            super().get_option(level, name, room, reply)

    def _ask_info(self, reply):
        if self.gone:
            reply(None)
            return
        token = next(self._next_token)
        self._tokens[token] = reply
        self.post(transport.GetInfo(self.number, token))

    def _pack_info(self, info):
        if info is not None:
            return options.pack_tcp_info(info)
        return bytes([_LISTEN if self._state == protocol.LISTENING else _CLOSE]) + bytes(231)

    def shutdown(self, reply):
        """From this end, so that the pair's hanging up still tells when the program lets go of it."""
        if self.backlog is not None:
            self.backlog.close()
            self.let_go(transport.Close(self.number))  # it refuses connections from now on, and accept says EINVAL
        elif self._state == protocol.CONNECTED and self.sock is not None:
            self._outflow.deaf = True
            self._consumed(self._outflow.flush())
            _shutdown(self.sock, SHUT_RDWR)
            self.readable(False)
        reply(0)

    def interest(self):
        if self._state in (protocol.FRESH, protocol.CONNECTING):
            return 0  # what is in the pair is the plug
        waits = self._outflow.waiting or self._outflow.urgent or self.offered_in or self.backlog
        return READ | URGENT | WRITE if waits else READ | URGENT

    # -- TCP ----------------------------------------------------------------------------------------------------------

    def event(self, event):
        kind = type(event)
        if kind is transport.Received:
            self._received(event.buffers)
        elif kind is transport.Room:
            self._room += event.size
            if self._readable:
                self._pull()
        elif kind is transport.Connected:
            self.local, self.remote = event.local, event.remote
            self._state = protocol.CONNECTED
            self._drain_plug()
            self._readable = True
            self.review_interest()
            self._attempt.over(0)
        elif kind is transport.Accepted:
            self.backlog.add(event)
        elif kind is transport.EndOfStream:
            self._ended = True
            self._push()
        elif kind is transport.UrgentReceived:
            self._outflow.urgent = event.byte, event.mark
            self._push()
        elif kind is transport.Finished:
            self._ended = self._finished = True
            self._push()
        else:
            super().event(event)

    def accepted(self, event, values):
        """It is a new connection of a listener's, with its options' *values*; no program has it yet."""
        self.values.update(values)
        self.local, self.remote = event.local, event.remote
        self._state = protocol.CONNECTED
        self.waits = True

    def attach(self, inode, sock):
        """It has a pair from now on."""
        self.inode, self.sock, self._fd = inode, sock, sock.fileno()
        self.waits = False
        self._outflow.sock = sock
        self.watch()
        self._push()

    def failed(self, number):
        if self._state == protocol.CONNECTING:
            self.error = number
            self.remote = None
            self._state = protocol.FRESH
            self._lost = True
            self._discard_written()
            self.review_interest()
            if self._attempt.is_waited_for:
                self._attempt.over(self.take_error())
            if self._hung_up:
                self.let_go(transport.Close(self.number))
        elif self._state == protocol.CONNECTED:
            self._fail(number)
        else:
            if self._bound_by_program is not None and self.local is None:
                self._bound_by_program = None
            super().failed(number)

    def stop(self, failure):
        super().stop(failure)
        if self._state == protocol.CONNECTED:
            self._fail(errno.ENETDOWN)
        elif self._state == protocol.CONNECTING:
            self.failed(errno.ENETDOWN)
        elif self.backlog is not None:
            self.error = errno.ENETDOWN
            self._state = protocol.OVER
            self.close_pair()

    def _fail(self, number):
        """The connection is over by *number*, an errno. What had come before may still be read."""
        self.error = number
        self._finished = self._ended = True
        if self.sock is not None:
            _shutdown(self.sock, SHUT_RD)  # the program's next send fails
            self._discard_written()
            self._push()

    # -- from the program ---------------------------------------------------------------------------------------------

    def _on_events(self, events):
        if events & ENDING:
            self._ending = True
        super()._on_events(events)

    def readable(self, hung_up):
        if self.offered_in is not None:
            self.offered_in.count_taken()
        self._hung_up |= hung_up
        self._readable = True
        if self._state != protocol.CONNECTED:
            if self._hung_up:
                self._gone()
        elif self._hung_up and not self._finished and (self.unread or self._abortive()):
            self._pull()  # as on Linux what there is room for has left before the reset; the rest is lost
            if not self.gone:
                self.let_go(transport.Abort(self.number))
        elif self._shut:  # nothing more to read, and so no room needed
            if self._hung_up:
                self._pull_end()
        elif self._room or self._finished:
            self._pull()

    def _pull_end(self):
        try:
            self.sock.recv(1)
        except ConnectionResetError:
            self.let_go(transport.Abort(self.number))
        else:
            self._gone()

    def _pull(self):
        """Give TCP what the program has written, as far as there is room."""
        if self._finished:
            self._discard_written()
            if self._hung_up:
                self._gone()
            return
        chunks = []
        for _ in range(READS):
            if self._room <= 0:
                break
            urgent = self._marks and self._at_mark()
            most = 1 if urgent else min(CHUNK, self._room)
            try:
                data = self.sock.recv(most)
            except BlockingIOError:
                self._readable = False
                break
            except OSError:  # ECONNRESET: the program has closed it with something unread, if it was ever accepted
                self._write(chunks)
                self.let_go(transport.Abort(self.number))
                return
            if not data:
                self._readable = False
                self._write(chunks)
                self._end_of_program()
                return
            self._room -= len(data)
            if urgent:
                self._write(chunks)
                chunks = []
                self._write([data], True)
            else:
                chunks.append(data)
                if len(data) < most and not self._ending and not self._marks:
                    # All that there was, epoll(7) says of streams; at a mark recv stops before. What comes now, or the
                    # end, is told as well.
                    self._readable = False
                    break
        else:
            self._service.again(self._pull_again)
        self._write(chunks)

    def _pull_again(self):
        if self.sock is not None and self._readable:
            self._pull()
            self._service.endpoints.flush()

    def _write(self, chunks, urgent=False):
        if chunks:
            self._service.endpoints.post_data("tcp", transport.Write(self.number, chunks, urgent))

    def _end_of_program(self):
        if self._hung_up:
            self._gone()
        elif not self._shut:
            self._shut = True
            self.post(transport.Shutdown(self.number))

    def _gone(self):
        """No process has the socket any more, and all that was written has been passed on."""
        self._attempt.over(errno.ECONNABORTED)  # another thread has closed it
        if self.backlog is not None:
            self.backlog.close()
            self.let_go(transport.Close(self.number))
        elif self._finished:
            self._service.endpoints.forget(self.transport, self)
            self.gone = True
            self.close_pair()
            self._service.bury(self)
        elif self._outflow.waiting:
            self.let_go(transport.Abort(self.number))  # RFC 2525 §2.17: unread data, as Linux
        else:
            self.let_go(transport.Close(self.number, self.values.get("linger") if self._abortive() else None))

    def _abortive(self):
        return self.values.get("linger") == 0

    def urgent(self):
        """From now on look for marks: up to them recv stops, and what is behind one is the urgent byte."""
        if not self._marks:
            self._marks = True
            self.sock.setsockopt(SOL_SOCKET, SO_OOBINLINE, 1)

    def _at_mark(self):
        return struct.unpack("i", fcntl.ioctl(self._fd, _SIOCATMARK, bytes(4)))[0] != 0

    def _drain_plug(self):
        left, self._plug = self._plug, 0
        self.unplug(left)

    def unplug(self, left):
        while left and self.sock is not None:
            try:
                left -= self.sock.recv_into(_RUBBISH, min(left, CHUNK)) or left
            except OSError:
                break
        return left

    def _discard_written(self):
        """Nobody will have what the program has written."""
        self._plug = 0
        try:
            while self.sock is not None and self.sock.recv(CHUNK):
                pass
        except OSError:
            pass

    # -- to the program -----------------------------------------------------------------------------------------------

    def _received(self, buffers):
        if self.sock is None and not self.waits:
            self._consumed(sum(map(len, buffers)))
        else:
            outflow = self._outflow
            self._consumed(outflow.put(buffers))
            if outflow.waiting or self._watched & WRITE:  # else all has gone, as ever
                self._retry_if_starved()
                self.review_interest()

    def _retry_if_starved(self):
        if self._outflow.starved:
            self._outflow.starved = False
            self._service.later(self._push)

    def writable(self):
        if self.offered_in is not None:
            self.offered_in.count_taken()  # the mark has been read, perhaps
        if self.backlog is not None:
            self.backlog.writable()
        elif self._outflow.waiting or self._ended:
            self._push()

    def _push(self):
        """Write what waits into the pair; when all is there, what comes after it: the end."""
        if self.sock is None:
            return
        outflow = self._outflow
        self._consumed(outflow.flush())
        self._retry_if_starved()
        self.review_interest()
        if self._ended and not outflow.waiting:
            if self._finished:
                self._over()
            else:
                outflow.deaf = True
                _shutdown(self.sock, SHUT_WR)

    def _consumed(self, size):
        if size and not self._finished:
            if size > LITTLE or "receive_buffer" in self.values:
                self.post(transport.Consumed(self.number, size))
            else:
                self._service.endpoints.post_later("tcp", transport.Consumed, self.number, size)

    def _over(self):
        """Both ways have ended, and the program can have all that came."""
        self.gone = True
        self._state = protocol.OVER
        self._service.endpoints.forget(self.transport, self)
        self._discard_written()
        self.close_pair()
        self._service.bury(self)


_TRANSPORT_SETTINGS = {option.setting for option in options6.TCP6.values() if option.transport} | {"ipv6"}
_CLOSE, _LISTEN = 7, 10  # TCP_CLOSE, TCP_LISTEN


def _shutdown(sock, how):
    try:
        sock.shutdown(how)
    except OSError:
        pass  # the other end has gone
