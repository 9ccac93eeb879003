"""The arrival of a segment, step by step as RFC 9293 §3.10.7 has it, and a shorter way for the ordinary one.

Each step takes the `connection.Connection` and returns whether the next one has its turn.
"""

from pystack import errors, messages
from pystack.tcp import states
from pystack.wire import tcp
from pystack.wire.seq import extend

_ORDINARY = (tcp.ACK, tcp.ACK | tcp.PSH)
_CONFIRM_INTERVAL = 5.0  # seconds from one NeighborConfirmed to the next: well below a neighbour's reachable time


def receive(connection, segment, now):
    """Take a segment for a connection that is past its own first SYN, or has sent it.

    The segment's numbers are as on the wire, and are extended here.
    """
    connection.segments_in += 1 + len(segment.packet.following)
    if connection.state == states.SYN_SENT:
        _receive_syn_sent(connection, segment, now)
        return
    receiver, sender = connection.receiver, connection.sender
    segment.seq = extend(segment.seq, receiver.rcv_nxt)
    segment.ack = extend(segment.ack, sender.snd_una)
    _receive_one(connection, segment, now)
    for text in segment.packet.following:
        if connection.state in states.OVER:
            connection.drops[errors.AFTER_CLOSE] += 1  # without an answer of its own, as from Linux's GRO
            continue
        segment.seq += len(segment.payload)
        segment.payload = text
        _receive_one(connection, segment, now)


def _receive_one(connection, segment, now):
    receiver = connection.receiver
    if not (
        connection.state == states.ESTABLISHED
        and segment.flags in _ORDINARY
        and segment.seq == receiver.rcv_nxt
        and predict(connection, segment, now)
    ):
        receive_by_steps(connection, segment, now)


def predict(connection, segment, now):
    """Header prediction: the next segment, with nothing special about it. If it returns False, nothing is done yet.

    tests/tcp/test_fast_path.py shows that the steps come to the same.
    """
    receiver, sender = connection.receiver, connection.sender
    if not sender.snd_una <= segment.ack <= sender.snd_nxt or len(segment.payload) > receiver.rcv_wnd:
        return False
    if connection.terms.timestamps:
        stamp = segment.options.timestamp
        if stamp is None or (stamp[0] - receiver.ts_recent) & 0x80000000:
            return False
        receiver.update_ts_recent(stamp[0], segment.seq, now)
    _acknowledge(connection, segment, now)
    if segment.payload:
        _take_text(connection, segment, now)
    return True


def receive_by_steps(connection, segment, now):
    """RFC 9293 §3.10.7.4. Its third step, security, is nobody's any more."""
    if (
        _check_syn_again(connection, segment, now)
        and _check_paws(connection, segment, now)
        and _check_sequence(connection, segment, now)
        and _check_rst(connection, segment, now)
        and _check_syn(connection, segment, now)
        and _check_ack(connection, segment, now)
    ):
        _check_urg(connection, segment)
        _check_text_and_fin(connection, segment, now)


# -- SYN-SENT ---------------------------------------------------------------------------------------------------------


def _receive_syn_sent(connection, segment, now):
    """RFC 9293 §3.10.7.3."""
    sender, flags, drops = connection.sender, segment.flags, connection.drops
    acknowledged = False
    if flags & tcp.ACK:
        segment.ack = extend(segment.ack, sender.iss)
        acknowledged = segment.ack == sender.snd_nxt != sender.iss
        if not acknowledged:
            drops[errors.BAD_ACK] += 1
            if not flags & tcp.RST:
                connection.output.refuse(segment.ack)
                sender.hasten_syn(now)
            return
    if flags & tcp.RST:
        if acknowledged:
            connection.counts["AttemptFails"] += 1
            connection.fail(errors.REFUSED)
        else:
            drops[errors.BAD_RST] += 1
    elif not flags & tcp.SYN:
        drops[errors.BAD_FLAGS] += 1
    else:
        connection.terms.settle_ecn(flags, connection.config)
        connection.take_syn(segment.seq, segment.options, segment.window, now)
        if acknowledged:
            _complete(connection, segment, now)
        else:
            connection.move(states.GOT_SYN)
            connection.send_syn(now)


def _complete(connection, segment, now):
    """SYN and ACK: the connection stands, and the rest of the segment is taken as any other (step 6 on)."""
    connection.move(states.GOT_SYN_ACK)
    segment.seq = connection.receiver.rcv_nxt
    _acknowledge(connection, segment, now, scaled=False)
    connection.establish(now)
    connection.must_ack = True
    _check_urg(connection, segment)
    _check_text_and_fin(connection, segment, now)


# -- the other states -------------------------------------------------------------------------------------------------


def _check_syn_again(connection, segment, now):
    """In SYN-RECEIVED the peer's SYN may come again: because ours was lost; or because both opened at once, and it is
    now combined with the ACK that is waited for, as which it is taken (RFC 9293 figure 8)."""
    if connection.state != states.SYN_RECEIVED or segment.flags & (tcp.SYN | tcp.RST) != tcp.SYN:
        return True
    if segment.seq != connection.receiver.irs:
        return True
    if segment.flags & tcp.ACK:
        segment.flags &= ~(tcp.SYN | tcp.ECE | tcp.CWR)  # these are SYN's: no echo of congestion
        segment.seq += 1
        segment.window >>= connection.terms.peer_window_scale  # a SYN's is not scaled
        connection.must_ack = True
        return True
    connection.drops[errors.NOT_ACCEPTABLE] += 1
    if connection.may_answer(now):
        connection.send_syn(now)
    return False


def _check_paws(connection, segment, now):
    """RFC 7323 §5.3 R1. A segment without the option is taken, as on Linux, although §3.2 would drop it."""
    stamp = segment.options.timestamp
    if stamp is None or not connection.terms.timestamps:
        return True
    rst = segment.flags & tcp.RST
    if not connection.receiver.paws_rejects(stamp[0], now, bool(rst)):
        return True
    connection.drops[errors.PAWS] += 1
    if not rst:
        _answer_unacceptable(connection, segment, now)
    return False


def _check_sequence(connection, segment, now):
    """First: the sequence number (RFC 9293 MUST-59)."""
    flags, receiver = segment.flags, connection.receiver
    length = len(segment.payload) + (flags & tcp.FIN) + (flags >> 1 & 1)
    if receiver.acceptable(segment.seq, length):
        stamp = segment.options.timestamp
        if stamp is not None and connection.terms.timestamps and not flags & tcp.RST:
            receiver.update_ts_recent(stamp[0], segment.seq, now)
        return True
    connection.drops[errors.NOT_ACCEPTABLE] += 1
    if flags & tcp.RST:
        return False
    if flags & tcp.SYN and connection.state != states.SYN_RECEIVED:
        _challenge(connection, now)  # RFC 5961 §4: whatever its number
    else:
        _answer_unacceptable(connection, segment, now)
    return False


def _check_rst(connection, segment, now):
    """Second: RST counts only with the very next number, else it is challenged (RFC 5961 §3.2)."""
    if not segment.flags & tcp.RST:
        return True
    state = connection.state
    if segment.seq != connection.receiver.rcv_nxt:
        connection.drops[errors.BAD_RST] += 1
        _challenge(connection, now)
    elif state == states.SYN_RECEIVED:
        connection.counts["AttemptFails"] += 1
        connection.fail(errors.REFUSED)  # nobody hears of it if a listener's connection was only half open
    else:
        if state in (states.ESTABLISHED, states.CLOSE_WAIT):
            connection.counts["EstabResets"] += 1
        # Linux's tcp_reset
        connection.fail(errors.BROKEN_PIPE if state == states.CLOSE_WAIT else errors.RESET)
    return False


def _check_syn(connection, segment, now):
    """Fourth: RFC 5961 §4.2."""
    if not segment.flags & tcp.SYN:
        return True
    connection.drops[errors.BAD_SYN] += 1
    _challenge(connection, now)
    return False


def _check_ack(connection, segment, now):
    """Fifth: the acknowledgement, and what it does to the state."""
    if not segment.flags & tcp.ACK:
        connection.drops[errors.UNACKABLE] += 1
        return False
    if connection.state == states.SYN_RECEIVED:
        return _check_ack_of_syn(connection, segment, now)
    sender, ack = connection.sender, segment.ack
    if ack > sender.snd_nxt or ack < sender.snd_una - sender.snd_max_wnd:  # RFC 5961 §5.2
        connection.drops[errors.BAD_ACK] += 1
        _challenge(connection, now)
        return False
    _acknowledge(connection, segment, now)
    if sender.fin_acked:
        connection.fin_acknowledged(now)
    return connection.state != states.CLOSED


def _check_ack_of_syn(connection, segment, now):
    sender = connection.sender
    if not sender.snd_una < segment.ack <= sender.snd_nxt:
        connection.drops[errors.BAD_ACK] += 1
        connection.output.refuse(segment.ack)
        return False
    defer = connection.settings.defer_accept
    if defer and not segment.payload and not segment.flags & tcp.FIN and now - connection.opened_at < defer:
        return False  # TCP_DEFER_ACCEPT: a bare ACK establishes nothing, for a while
    connection.move(states.GOT_ACK_OF_SYN)
    _acknowledge(connection, segment, now)
    connection.establish(now)
    if sender.fin_acked:
        connection.fin_acknowledged(now)
    return True


def _check_urg(connection, segment):
    """Sixth: the urgent pointer."""
    if segment.flags & tcp.URG and connection.state in states.RECEIVING:
        connection.receiver.urgent(segment.seq + segment.urgent)


def _check_text_and_fin(connection, segment, now):
    """Seventh and eighth."""
    if segment.payload or segment.flags & tcp.FIN:
        if connection.state in states.RECEIVING:
            _take_text(connection, segment, now)
        else:
            connection.must_ack = True  # after a FIN there should be none, so it is an old one, or a lie: say so


def _take_text(connection, segment, now):
    receiver, payload, packet = connection.receiver, segment.payload, segment.packet
    if connection.orphaned and segment.seq + len(payload) > receiver.rcv_nxt:
        # Nobody will read it: RFC 1122 §4.2.2.13, and Linux.
        connection.drops[errors.AFTER_CLOSE] += 1
        connection.counts["AbortOnData"] += 1
        connection.abort(now)
        return
    if connection.terms.ecn and payload:
        if packet.tos & 3 == 3:
            receiver.on_ce()
        elif segment.flags & tcp.CWR:
            receiver.on_cwr()
    receiver.receive(
        segment.seq,
        payload,
        len(payload.obj),
        bool(segment.flags & tcp.FIN),
        now,
        bool(segment.flags & tcp.PSH),
        packet.gso_size,
    )
    if payload:
        connection.data_segments_in += 1
        connection.data_received_at = now
    if receiver.fin_received:
        connection.fin_arrived(now)
    elif receiver.ack_now and receiver.out_of_order:
        # Each segment beyond a hole is answered at once (RFC 5681 §4.2): the peer counts the duplicates, and a later
        # ACK may have no room for all its SACK blocks.
        connection.send_ack(now)


def _acknowledge(connection, segment, now, scaled=True):
    """Hand an acceptable ACK to the sender; the window of a SYN is not *scaled*."""
    sender, terms, options, ack = connection.sender, connection.terms, segment.options, segment.ack
    connection.keepalive.heard(now)
    una = sender.snd_una
    sacks = options.sacks
    if sacks:
        sacks = tuple((extend(left, una), extend(right, una)) for left, right in sacks) if terms.sack else ()
    echoed_at = None
    if terms.timestamps and ack > una:
        stamp = options.timestamp
        if stamp is not None and stamp[1]:
            echoed_at = connection.output.echoed_at(stamp[1], now)
    newly = sender.on_ack(
        ack,
        segment.window << terms.peer_window_scale if scaled else segment.window,
        segment.seq,
        sacks,
        now,
        terms.ecn and segment.flags & (tcp.ECE | tcp.SYN) == tcp.ECE,  # on a SYN it is agreement
        echoed_at,
        bool(segment.payload),
    )
    if newly:
        connection.soft_cause = None
        if now - connection.confirmed_at >= _CONFIRM_INTERVAL:  # RFC 4861 §7.3.1
            connection.confirmed_at = now
            connection.controls.append(messages.NeighborConfirmed(connection.remote[0]))


# -- answers ----------------------------------------------------------------------------------------------------------


def _answer_unacceptable(connection, segment, now):
    """An ACK; with a limit if there is no text, so that two ends that disagree do not answer each other for ever
    (Linux's tcp_oow_rate_limited). Text that was there before is reported as such (RFC 2883)."""
    if segment.payload:
        connection.receiver.duplicate(segment.seq, segment.seq + len(segment.payload))
        connection.must_ack = True
    elif connection.may_answer(now):
        connection.must_ack = True


def _challenge(connection, now):
    """RFC 5961 §7: the number of challenge ACKs is limited, for each connection and for all together."""
    if not connection.may_answer(now):
        return
    if connection.limiter.allow(now):
        connection.counts["ChallengeACK"] += 1
        connection.must_ack = True
    else:
        connection.drops[errors.CHALLENGE_LIMITED] += 1
