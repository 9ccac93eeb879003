"""Who is who: hands the events of the transports to the sockets that they are for, and the sockets' requests down."""

from itertools import count

from pystack import errors, transport
from pystack.deadlines import NEVER
from pystack.sockets.waiting import Waiting

LATEST = 0.04  # seconds, a delayed ACK's: how long what can wait for another request does


class Endpoints:
    """All sockets of a stack. It is the target of the outbox ``sockets`` of both transports.

    Args:
        clock: for timeouts.
        ways: transport's name -> the `Way` to it.
        checks: transport's name -> a function of a setting's name and value, which raises StackError if it is wrong.

    Attributes:
        bugs: exceptions of our own code in what a program has asked for.
    """

    def __init__(self, clock, ways, checks):
        self.clock = clock
        self.bugs = 0
        self._checks = checks
        self._ways = ways
        self._sockets = {}  # (transport's name, number) -> `Endpoint`
        self._numbers = count(1)
        self._failure = None
        self._posted = False  # something may be there to be passed on
        self._alarm = clock.alarm(self._flush_all)

    def inlet(self, name):
        """Where the events of the transport *name* are to be put."""
        return _Inlet(self, name)

    def number(self):
        """A number for a new socket."""
        return next(self._numbers)

    def add(self, name, endpoint):
        """From now on the endpoint gets its events."""
        self._sockets[name, endpoint.number] = endpoint

    def forget(self, name, endpoint):
        """It wants no events any more."""
        self._sockets.pop((name, endpoint.number), None)

    def request(self, name, request):
        """Give a request to a transport; its answer may be here before this returns.

        Raises StackStopped.
        """
        self._check_running()
        self._ways[name].give(request, self._check_running)

    def post(self, name, request):
        """As `request`, for those who must not wait: it goes with the next `flush`. Lost if the stack has stopped."""
        if self._failure is None:
            self._posted = True
            self._ways[name].post(request)

    def post_data(self, name, request):
        """As `post`, for a Write or Send."""
        if self._failure is None:
            self._posted = True
            self._ways[name].post_data(request)

    def post_later(self, name, kind, socket, size):
        """As `post`, for a Consumed or Read of little, a request of class *kind*, for which nobody waits: it goes with
        others, or soon."""
        if self._failure is None:
            if self._ways[name].post_later(kind, socket, size):
                self._ways[name].flush_all()
            elif self._alarm.at == NEVER:
                self._alarm.set(self.clock.now() + LATEST)

    def flush(self):
        """Pass on what was posted."""
        if self._posted and self._failure is None:
            self._posted = False
            for way in self._ways.values():
                way.flush()

    def _flush_all(self):
        for way in self._ways.values():
            way.flush_all()

    def settle(self, name):
        """Wait until a transport has done all that was asked of it up to now. Raises StackStopped."""
        self._ways[name].settle(self._check_running)

    def check(self, name, setting, value):
        """Raise StackError if the transport has no such setting, or it cannot have this value."""
        self._checks[name](setting, value)

    @property
    def stopped(self):
        """Whether the stack has stopped."""
        return self._failure is not None

    def stop(self, failure):
        """The stack has stopped: whoever waits raises *failure*, a `StackStopped`."""
        self._failure = failure
        self._alarm.cancel()
        for way in self._ways.values():
            way.stop()
        for endpoint in list(self._sockets.values()):
            endpoint.stop(failure)
        self._sockets.clear()

    def take(self, name, batch):
        """Hand events to their sockets; those of sockets that are gone are late."""
        sockets = self._sockets
        for event in batch:
            if type(event) is transport.Accepted:
                listener = sockets.get((name, event.listener))
                if listener is None:  # closed meanwhile: Linux resets what it had not accepted
                    self.post(name, transport.Abort(event.socket))
                else:
                    listener.event(event)
            else:
                endpoint = sockets.get((name, event.socket))
                if endpoint is not None:
                    endpoint.event(event)
        if self._posted:
            self.flush()

    def _check_running(self):
        if self._failure is not None:
            raise self._failure


class _Inlet:
    def __init__(self, endpoints, name):
        self._endpoints = endpoints
        self._name = name

    def put(self, batch):
        self._endpoints.take(self._name, batch)


class Endpoint:
    """What all sockets share. Errors are OSErrors with Linux's numbers; a timeout is a TimeoutError.

    Attributes:
        timeout: seconds that a call may wait; None: for ever.
    """

    transport = ""

    def __init__(self, endpoints, number=None):
        self.number = endpoints.number() if number is None else number
        self.timeout = None
        self.local = None  # (address, port), once bound
        self._endpoints = endpoints
        self._waiting = Waiting(endpoints.clock)
        self._cause = None  # why it has failed, a key of errors.ERRNO
        self._stopped = None
        self._closed = False
        endpoints.add(self.transport, self)

    def settimeout(self, seconds):
        """Let no call wait longer than that; None: for ever."""
        self.timeout = seconds

    def set_option(self, name, value):
        """Set a field of the transport's settings (`tcp.settings.Settings`, `udp.settings.Settings`)."""
        self._endpoints.check(self.transport, name, value)
        self._request(transport.SetOption(self.number, name, value))

    def close(self):
        """Let go of the socket. May be called twice."""
        if not self._closed:
            self._closed = True
            self._endpoints.forget(self.transport, self)
            self._waiting.wake()
            if self._stopped is None:
                self._let_go()

    def stop(self, failure):
        """The stack has stopped."""
        self._stopped = failure
        self._waiting.wake()

    def bind(self, address, port=0, **how):
        """Take a local address (bytes) and port; *how* as in `transport.Bind`. Returns both. Raises OSError."""
        self._ask(transport.Bind(self.number, address, port, **how), lambda: self.local is not None)
        return self.local

    def event(self, event):
        """Take one event of the transport; who waits is to be woken."""
        if type(event) is transport.Bound:
            self.local = event.address, event.port
        elif type(event) is transport.Failed:
            self._cause = event.cause

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    def _let_go(self):
        self._request(transport.Close(self.number))

    def _request(self, request):
        if self._closed and type(request) is not transport.Close:
            raise OSError(9, "the socket is closed")
        self._endpoints.request(self.transport, request)

    def _wait(self, ready, timeout=None):
        """Return once ``ready()`` holds. Raises what has happened to the stack or the socket, or TimeoutError."""

        def done():
            return ready() or self._stopped is not None or self._closed

        if not done():
            self._waiting.until(done, self.timeout if timeout is None else timeout)
        if ready():
            return
        if self._stopped is not None:
            raise self._stopped
        raise OSError(9, "the socket is closed")

    def _ask(self, request, ready):
        """Make a request and wait until ``ready()``. If it fails, that is raised, and forgotten."""
        self._request(request)
        self._wait(lambda: ready() or self._cause is not None)
        if self._cause is not None:
            cause, self._cause = self._cause, None
            raise failure(cause)


def failure(cause):
    """The OSError for a cause of `errors.ERRNO`."""
    number = errors.ERRNO[cause]
    return OSError(number, cause.replace("_", " "))
