"""Tables of nftables over netlink: pyroute2's messages on a plain blocking socket, for the reasons in `rtnetlink`.

A table made here is owned by its socket: the kernel removes it, with all in it, when the socket closes, be it by the
death of the process. A socket belongs to the network namespace in which it was made.
"""

import os
import struct

# What nobody patches in place.
from _socket import AF_INET, AF_INET6, AF_NETLINK, MSG_DONTWAIT, SOCK_CLOEXEC, SOCK_RAW, socket

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_ERROR = struct.Struct("=i")
_REGISTER = struct.Struct("=I")
_NETLINK_NETFILTER = 12
_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_NLM_F_REQUEST = 0x1
_NLM_F_ACK = 0x4
_NLM_F_DUMP_INTR = 0x10
_NLM_F_DUMP = 0x300
_NLM_F_EXCL = 0x200
_NLM_F_CREATE = 0x400
_NLM_F_APPEND = 0x800
_NFNL_MSG_BATCH_BEGIN = 16
_NFNL_MSG_BATCH_END = 17
_NFNL_SUBSYS_NFTABLES = 10
_NFT_MSG = _NFNL_SUBSYS_NFTABLES << 8
_NEWTABLE, _GETTABLE, _NEWCHAIN, _GETCHAIN, _NEWRULE = 0, 1, 3, 4, 6
_NFT_TABLE_F_OWNER = 2  # since Linux 5.12
_NF_DROP = 0
FAMILIES = {4: "ip", 6: "ip6"}  # the family of tables for one version of IP
_NUMBERS = {4: AF_INET, 6: AF_INET6}
_INET = 1  # the family for both
FORWARD = 2  # <linux/netfilter.h>, enum nf_inet_hooks
POSTROUTING = 4

# Expressions of rules. Each loads register 1, and ends the rule unless it is what it should be.
_VERDICT = 0
_REG = 1
_CMP_EQ = 0
_CMP_NEQ = 1
_META_IIF = 4
_META_OIF = 5
_CT_DIRECTION = 1
_NETWORK_HEADER = 1


def comes_in_by(index):
    return [_expression("meta", ("DREG", _REG), ("KEY", _META_IIF)), _compare(_CMP_EQ, _REGISTER.pack(index))]


def leaves_by_another_than(index):
    return [_expression("meta", ("DREG", _REG), ("KEY", _META_OIF)), _compare(_CMP_NEQ, _REGISTER.pack(index))]


def is_from(network):
    """*network* is an `ipaddress.IPv4Network` or IPv6Network."""
    offset, length = (12, 4) if network.version == 4 else (8, 16)  # of the source address
    mask = {"attrs": [("NFTA_DATA_VALUE", network.netmask.packed)]}
    zero = {"attrs": [("NFTA_DATA_VALUE", bytes(length))]}
    return [
        _expression("payload", ("DREG", _REG), ("BASE", _NETWORK_HEADER), ("OFFSET", offset), ("LEN", length)),
        _expression("bitwise", ("SREG", _REG), ("DREG", _REG), ("LEN", length), ("MASK", mask), ("XOR", zero)),
        _compare(_CMP_EQ, network.network_address.packed),
    ]


def is_no_reply():
    """It goes the way of its flow's first packet."""
    return [_expression("ct", ("DREG", _REG), ("KEY", _CT_DIRECTION)), _compare(_CMP_EQ, b"\0")]


def masquerade():
    return [_expression("masq")]


def drop():
    verdict = {"attrs": [("NFTA_DATA_VERDICT", {"attrs": [("NFTA_VERDICT_CODE", _NF_DROP)]})]}
    return [_expression("immediate", ("DREG", _VERDICT), ("DATA", verdict))]


def _compare(operation, value):
    return _expression("cmp", ("SREG", _REG), ("OP", operation), ("DATA", {"attrs": [("NFTA_DATA_VALUE", value)]}))


def _expression(name, *settings):
    data = {"attrs": [(f"NFTA_{name.upper()}_{key}", value) for key, value in settings]}
    return {"attrs": [("NFTA_EXPR_NAME", name), ("NFTA_EXPR_DATA", data)]}


class Nftables:
    """A connection to the nftables of the namespace that the calling thread is in now. Errors are OSError."""

    def __init__(self):
        self._socket = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, _NETLINK_NETFILTER)
        self._socket.setblocking(True)  # whatever socket.setdefaulttimeout says
        self._sequence = 0

    def close(self):
        """The tables made over this connection go with it."""
        self._socket.close()

    def tables(self, version):
        """``{name: is owned by a socket}`` of the tables for a version of IP alone."""
        from pyroute2.netlink.nfnetlink.nftsocket import nft_table_msg

        found = {}
        for table in self._dump(nft_table_msg, _GETTABLE, _NUMBERS[version]):
            owned = bool((table.get_attr("NFTA_TABLE_FLAGS") or 0) & _NFT_TABLE_F_OWNER)
            found[table.get_attr("NFTA_TABLE_NAME")] = owned
        return found

    def chains_that_drop(self, hook, version):
        """``["ip filter FORWARD", ...]``: chains at *hook* that drop packets of a version of IP for which they have no
        rule."""
        from pyroute2.netlink.nfnetlink.nftsocket import nft_chain_msg

        found = []
        for family, text in ((_INET, "inet"), (_NUMBERS[version], FAMILIES[version])):
            for chain in self._dump(nft_chain_msg, _GETCHAIN, family):
                place = chain.get_attr("NFTA_CHAIN_HOOK")
                if place is None or place.get_attr("NFTA_HOOK_HOOKNUM") != hook:
                    continue
                if chain.get_attr("NFTA_CHAIN_POLICY") == _NF_DROP:
                    table, name = chain.get_attr("NFTA_CHAIN_TABLE"), chain.get_attr("NFTA_CHAIN_NAME")
                    found.append(f"{text} {table} {name}")
        return found

    def add_table(self, version, table, chains):
        """Add a table for a version of IP, owned by this connection; all of it or, on an error, nothing.

        Args:
            table: its name, which must be free.
            chains: ``{name: (type, hook, priority, rules)}``, a rule being a list of the expressions above.
        """
        from pyroute2.netlink.nfnetlink.nftsocket import nft_chain_msg, nft_rule_msg, nft_table_msg

        batch = [
            (
                _NEWTABLE,
                _NLM_F_CREATE | _NLM_F_EXCL,
                nft_table_msg(),
                [("NFTA_TABLE_NAME", table), ("NFTA_TABLE_FLAGS", _NFT_TABLE_F_OWNER)],
            )
        ]
        for name, (kind, hook, priority, rules) in chains.items():
            place = {"attrs": [("NFTA_HOOK_HOOKNUM", hook), ("NFTA_HOOK_PRIORITY", priority)]}
            attributes = [
                ("NFTA_CHAIN_TABLE", table),
                ("NFTA_CHAIN_NAME", name),
                ("NFTA_CHAIN_HOOK", place),
                ("NFTA_CHAIN_TYPE", kind),
            ]
            batch.append((_NEWCHAIN, _NLM_F_CREATE | _NLM_F_EXCL, nft_chain_msg(), attributes))
            for rule in rules:
                attributes = [
                    ("NFTA_RULE_TABLE", table),
                    ("NFTA_RULE_CHAIN", name),
                    ("NFTA_RULE_EXPRESSIONS", rule),
                ]
                batch.append((_NEWRULE, _NLM_F_CREATE | _NLM_F_APPEND, nft_rule_msg(), attributes))
        self._commit(_NUMBERS[version], batch)

    def _dump(self, kind_of_message, kind, family):
        while True:
            message = kind_of_message()
            message["nfgen_family"] = family
            self._socket.sendto(self._encode(message, _NFT_MSG | kind, _NLM_F_DUMP), (0, 0))
            answer = []
            interrupted = done = False
            while not done:
                for found, flags, body in self._receive(0, self._sequence):
                    interrupted |= bool(flags & _NLM_F_DUMP_INTR)
                    if found == _NLMSG_DONE:
                        done = True
                    elif found == _NLMSG_ERROR:
                        _check(body)
                    else:
                        decoded = kind_of_message(body)
                        decoded.decode()
                        answer.append(decoded)
            if not interrupted:  # else somebody has changed them meanwhile, and some may be missing
                return answer

    def _commit(self, family, batch):
        from pyroute2.netlink.nfnetlink import nfgen_msg

        first = self._sequence + 1
        begin, end = nfgen_msg(), nfgen_msg()
        begin["res_id"] = end["res_id"] = _NFNL_SUBSYS_NFTABLES
        data = [self._encode(begin, _NFNL_MSG_BATCH_BEGIN, 0)]
        for kind, flags, message, attributes in batch:
            message["nfgen_family"] = family
            message["attrs"] = attributes
            data.append(self._encode(message, _NFT_MSG | kind, flags | _NLM_F_ACK))
        data.append(self._encode(end, _NFNL_MSG_BATCH_END, 0))
        self._socket.sendto(b"".join(data), (0, 0))
        # The kernel has dealt with the batch before sendto returns, so its answers are there: if one were missing,
        # this raises instead of waiting for it.
        acknowledged = 0
        while acknowledged < len(batch):
            for found, _, body in self._receive(MSG_DONTWAIT, first):
                if found == _NLMSG_ERROR:
                    _check(body)
                    acknowledged += 1

    def _encode(self, message, kind, flags):
        self._sequence += 1
        message["header"]["type"] = kind
        message["header"]["flags"] = flags | _NLM_F_REQUEST
        message["header"]["sequence_number"] = self._sequence
        message["header"]["pid"] = 0
        message.encode()
        return bytes(message.data)

    def _receive(self, flags, since):
        """``[(type, flags, message)]`` of one datagram, less what answers requests before sequence number *since*."""
        data = self._socket.recv(1 << 17, flags)
        found = []
        at = 0
        while at + _HEADER.size <= len(data):
            length, kind, header_flags, sequence, _ = _HEADER.unpack_from(data, at)
            if sequence >= since:
                found.append((kind, header_flags, data[at : at + length]))
            at += (max(length, _HEADER.size) + 3) & ~3
        return found


def _check(body):
    code = -_ERROR.unpack_from(body, _HEADER.size)[0]
    if code:
        raise OSError(code, os.strerror(code))
