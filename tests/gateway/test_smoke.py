import threading, http.server, time
import gevent
from pystack import Interface, Stack
from pystack.device import memory
from pystack.gateway.gateway import Gateway
from pystack.gateway import kernel
import _socket

def test_smoke():
    l = _socket.socket(); l.bind(("127.0.0.1",0)); l.listen(5); l.setblocking(False)
    port = l.getsockname()[1]
    ours, theirs = memory.pair(mtu=65535)
    with Gateway(theirs) as gw, Stack([Interface(device=ours, addresses=["10.77.0.2/24"], gateway="10.77.0.1")]) as st:
        gw._stages  # noqa
        s = st.connect("10.77.0.1", port, timeout=5)
        fd,_ = l._accept()
        c = kernel.Connection(_socket.socket(fileno=fd))
        N = 200 << 20
        def send():
            left = N
            b = b"x"*262144
            while left: s.sendall(b); left -= len(b)
            s.shutdown()
        t=time.perf_counter()
        g = gevent.spawn(send)
        n = 0
        while d := c.recv(262144): n += len(d)
        print("out", n*8/1e9/(time.perf_counter()-t), "Gbit/s")
        g.get()
        def send2():
            left = N
            b = b"x"*262144
            while left: c.sendall(b); left -= len(b)
            c.shutdown()
        t=time.perf_counter()
        g = gevent.spawn(send2)
        n = 0
        while d := s.recv(262144): n += len(d)
        print("in", n*8/1e9/(time.perf_counter()-t), "Gbit/s")
        s.close()
        try:
            st.connect("10.77.0.1", 1, timeout=5)
        except OSError as e: print(e)
        print(gw.counters())
