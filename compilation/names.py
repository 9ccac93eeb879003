"""Which modules are compiled, and the type that a name has in them.

A parameter or local variable that bears one of these names, in one of these modules, always holds an instance of that
class, or None: whoever gives it another meaning there gets a TypeError from the compiled build.
"""

MODULES = """
    pystack/packet.py pystack/deadlines.py pystack/ports.py pystack/scope.py
    pystack/wire/seq.py pystack/wire/checksum.py pystack/wire/tcp.py pystack/wire/tcp_options.py pystack/wire/udp.py
    pystack/wire/vnet.py pystack/wire/ethernet.py pystack/wire/ipv4.py pystack/wire/ipv6.py pystack/wire/icmp.py
    pystack/link/layer.py pystack/link/neighbors.py pystack/link/conflict.py pystack/link/coalescing.py
    pystack/link/segmentation.py
    pystack/inet/addresses.py pystack/inet/addresses4.py pystack/inet/addresses6.py pystack/inet/finishing.py
    pystack/inet/host.py pystack/inet/host4.py pystack/inet/host6.py pystack/inet/icmp.py pystack/inet/icmp6.py
    pystack/inet/interfaces.py pystack/inet/ipv4.py pystack/inet/ipv6.py pystack/inet/layer.py pystack/inet/pmtu.py
    pystack/inet/ratelimit.py pystack/inet/reassembly.py
    pystack/tcp/acknowledgement.py pystack/tcp/arrival.py pystack/tcp/autotune.py
    pystack/tcp/congestion.py pystack/tcp/connection.py pystack/tcp/cookies.py pystack/tcp/cubic.py
    pystack/tcp/delayedack.py pystack/tcp/delivery.py pystack/tcp/hystart.py pystack/tcp/isn.py pystack/tcp/layer.py
    pystack/tcp/limiter.py pystack/tcp/listener.py pystack/tcp/memory.py pystack/tcp/opening.py pystack/tcp/output.py
    pystack/tcp/pacing.py pystack/tcp/paws.py pystack/tcp/persist.py pystack/tcp/reassembly.py
    pystack/tcp/receivebuffer.py pystack/tcp/receiver.py pystack/tcp/receivewindow.py pystack/tcp/recovery.py
    pystack/tcp/replies.py pystack/tcp/requests.py pystack/tcp/retransmission.py pystack/tcp/rtt.py
    pystack/tcp/scoreboard.py pystack/tcp/segment.py pystack/tcp/sendbuffer.py pystack/tcp/sender.py
    pystack/tcp/states.py pystack/tcp/terms.py pystack/tcp/timers.py pystack/tcp/timewait.py
    pystack/tcp/transmission.py
    pystack/udp/bindings.py pystack/udp/failures.py pystack/udp/layer.py pystack/udp/output.py
    pystack/runtime/stage.py pystack/runtime/mailbox.py pystack/runtime/driver.py pystack/runtime/clock.py
    pystack/sockets/stream_end.py pystack/sockets/ends.py pystack/sockets/endpoints.py pystack/sockets/way.py
    pystack/sockets/outflow.py pystack/sockets/poller.py pystack/sockets/datagram_end.py
""".split()

_RECEIVED = ("pystack.packet", "RxPacket")
_SENT = ("pystack.packet", "TxPacket")
_CONNECTION = ("pystack.tcp.connection", "Connection")

_TCP = {
    "board": ("pystack.tcp.scoreboard", "Scoreboard"),
    "repair": ("pystack.tcp.recovery", "Recovery"),
    "memory": ("pystack.tcp.memory", "Memory"),
    "delivery": ("pystack.tcp.delivery", "DeliveryRate"),
    "terms": ("pystack.tcp.terms", "Terms"),
    "receiver": ("pystack.tcp.receiver", "Receiver"),
    "segment": ("pystack.tcp.segment", "Segment"),
    "transmission": ("pystack.tcp.transmission", "Transmission"),
}
_RECORDS = {"record": ("pystack.tcp.scoreboard", "Sent")}
_CONNECTED = {"connection": _CONNECTION, "sender": ("pystack.tcp.sender", "Sender")}
_INTERFACE = {"interface": ("pystack.inet.interfaces", "InterfaceState")}
_ESTIMATOR = {"rtt": ("pystack.tcp.rtt", "RttEstimator")}

_OFFSETS = dict.fromkeys(("size", "at", "header", "whole", "below", "length"), "Py_ssize_t")
_SUMMED = {
    "octets": "bytes",
    "words": "const unsigned char *",
    "value": "unsigned long long",
    "size": "Py_ssize_t",
    "at": "Py_ssize_t",
}

# A package, module, class or function -> {name: (module, class), or a type of C's, or None}; the narrowest decides.
TYPES = {
    "pystack.tcp": _TCP,
    "pystack.tcp.layer": {**_CONNECTED, "packet": _RECEIVED},
    "pystack.tcp.arrival": {**_CONNECTED, "packet": _RECEIVED},
    "pystack.tcp.requests": _CONNECTED,
    "pystack.tcp.opening": _CONNECTED,
    "pystack.tcp.scoreboard": _RECORDS,
    "pystack.tcp.delivery": _RECORDS,
    "pystack.tcp.sender": _RECORDS,
    "pystack.tcp.acknowledgement": {**_ESTIMATOR, **_RECORDS},
    "pystack.tcp.retransmission": _ESTIMATOR,
    "pystack.tcp.recovery": _RECORDS,
    "pystack.tcp.output": {"packet": _SENT},
    "pystack.inet.finishing": {"packet": _SENT},
    "pystack.inet.host.Host.transmit": {"packet": _SENT, "path": ("pystack.inet.addresses", "Path")},
    "pystack.inet.host.Host": _INTERFACE,
    "pystack.inet.host.Host.path": {"interface": None},
    "pystack.inet.host4.Ipv4Host": _INTERFACE,
    "pystack.inet.host4.Ipv4Host.path": {"interface": None},
    "pystack.inet.host6.Ipv6Host": _INTERFACE,
    "pystack.inet.host6.Ipv6Host.path": {"interface": None},
    "pystack.inet.host4.Ipv4Host.receive": {"packet": _RECEIVED},
    "pystack.inet.host4.Ipv4Host._deliver": {"packet": _RECEIVED},
    "pystack.inet.host4.Ipv4Host._valid_source": {"packet": _RECEIVED},
    "pystack.inet.host4.Ipv4Host._ip_header": {"packet": _SENT},
    "pystack.inet.host6.Ipv6Host.receive": {"packet": _RECEIVED},
    "pystack.inet.host6.Ipv6Host._deliver": {"packet": _RECEIVED},
    "pystack.inet.host6.Ipv6Host._ip_header": {"packet": _SENT},
    "pystack.inet.ipv4.read_header": {"packet": _RECEIVED},
    "pystack.inet.ipv4.header": {"packet": _SENT},
    "pystack.inet.ipv6.read_header": {"packet": _RECEIVED},
    "pystack.inet.ipv6.header": {"packet": _SENT},
    "pystack.inet.layer.InetLayer.receive": {"packet": _RECEIVED},
    "pystack.inet.layer.InetLayer.transmit": {"packet": _SENT},
    "pystack.wire.checksum._sum": _SUMMED,
    "pystack.link.coalescing": {**dict.fromkeys(("frame", "first", "last"), "bytes"), **_OFFSETS},
    "pystack.link.layer.LinkLayer.receive": {"packet": _RECEIVED},
    "pystack.link.layer.LinkLayer._read_vnet": {"packet": _RECEIVED},
    "pystack.link.layer.LinkLayer.transmit": {"packet": _SENT},
    "pystack.udp.layer.UdpLayer._receive": {"packet": _RECEIVED},
    "pystack.udp.output.build": {"packet": _SENT},
}

# Functions that are looked up anew for each call, since tests put others in their place.
REPLACED = {"predict", "total"}

# Attributes that hold such an instance though the source does not show it.
ATTRIBUTES = {
    ("pystack.inet.layer", "InetLayer", "v4"): ("pystack.inet.host4", "Ipv4Host"),
    ("pystack.inet.layer", "InetLayer", "v6"): ("pystack.inet.host6", "Ipv6Host"),
    ("pystack.inet.host", "Host", "pmtu"): ("pystack.inet.pmtu", "PathMtu"),
    ("pystack.inet.host", "Host", "addresses"): ("pystack.inet.addresses", "Addresses"),
    ("pystack.inet.host", "Host", "_reassembly"): ("pystack.inet.reassembly", "Reassembly"),
    ("pystack.inet.addresses", "Path", "interface"): ("pystack.inet.interfaces", "InterfaceState"),
    ("pystack.tcp.sender", "Sender", "congestion"): ("pystack.tcp.congestion", "CongestionControl"),
    ("pystack.tcp.recovery", "Recovery", "_congestion"): ("pystack.tcp.congestion", "CongestionControl"),
    ("pystack.sockets.endpoints", "_Inlet", "_endpoints"): ("pystack.sockets.endpoints", "Endpoints"),
    ("pystack.tcp.segment", "Segment", "packet"): _RECEIVED,
    ("pystack.tcp.segment", "Segment", "options"): ("pystack.wire.tcp_options", "Options"),
}
