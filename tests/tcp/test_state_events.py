"""Every (state, event) pair of a connection: RFC 9293 §3.10, with RFC 5961's answers. LISTEN is the listener's,
TIME-WAIT its record's: see test_listener.py and test_timewait.py."""

import pytest

from pystack import transport
from pystack.tcp import states
from tests.support.tcp import SYN_OPTIONS, Conversation, Sent, in_state, options

S, R, E, F1, F2 = "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2"
CW, CG, LA, TW, GONE = "CLOSE-WAIT", "CLOSING", "LAST-ACK", "TIME-WAIT", "CLOSED"
STATES = (S, R, E, F1, F2, CW, CG, LA)

# The next number that is expected from the peer, what we have sent up to, and what the peer has acknowledged.
RCV_NXT = {S: 0, R: 1, E: 1, F1: 1, F2: 1, CW: 2, CG: 2, LA: 2}
SND_NXT = {S: 1, R: 1, E: 1, F1: 2, F2: 2, CW: 1, CG: 2, LA: 2}
SND_UNA = {S: 0, R: 0, E: 1, F1: 1, F2: 2, CW: 1, CG: 1, LA: 1}
FAR = 200_000  # beyond every window


def peer(flags, *, seq=0, ack=None, payload=b"", **how):
    """An event: a segment with *seq* counted from what is expected, *ack* from SND.UNA or a function of the state."""

    def happens(conversation, state):
        number = SND_UNA[state] if ack is None else ack(state)
        return conversation.arrives(flags, RCV_NXT[state] + seq, number, payload, **how)

    return happens


def program(name, *arguments):
    """An event: a request of the program."""

    def happens(conversation, state):
        return conversation.does(name, *arguments)

    return happens


def all_sent(state):
    return SND_NXT[state]


def too_far(state):
    return SND_NXT[state] + 1


EVENTS = {
    "SYN": peer("S", opts=options(**SYN_OPTIONS)),
    "old SYN": peer("S", seq=-FAR, opts=options(**SYN_OPTIONS)),
    "SYN, ACK": peer("SA", ack=all_sent, opts=options(**SYN_OPTIONS)),
    "ACK": peer("A", ack=all_sent),
    "ACK of the future": peer("A", ack=too_far),
    "ACK of the past": peer("A", ack=lambda state: -FAR),
    "text": peer("PA", payload=b"x"),
    "text without ACK": peer("P", payload=b"x"),
    "text beyond the window": peer("PA", seq=FAR, payload=b"x"),
    "text seen before": peer("PA", seq=-1, payload=b"x"),
    "FIN": peer("FA"),
    "FIN, ACK of all": peer("FA", ack=all_sent),
    "RST": peer("R"),
    "RST, ACK of all": peer("RA", ack=all_sent),
    "RST in the window": peer("R", seq=10),
    "RST beyond the window": peer("R", seq=FAR),
    "write": program("write", [b"data"], False),
    "shutdown": program("shutdown"),
    "close": program("close", None),
    "close, linger 0": program("close", 0),
    "abort": program("abort"),
}

# (next state, flags of what is sent within a tenth of a second, events by name). "-" for every state that is not named.
NOTHING = ("", [], [])
SAME = ""
ACKED = (SAME, ["A"], [])
AGAIN = (SAME, ["R", "S"], [])  # the ACK is not of our SYN, which as on Linux is sent again at once
TABLE = {
    "SYN": {S: (R, ["SA"], []), "-": ACKED},  # challenged: RFC 5961 §4
    "old SYN": {S: (R, ["SA"], []), "-": ACKED},
    "SYN, ACK": {S: (E, ["A"], ["Connected", "Room"]), R: ACKED, "-": ACKED},
    "ACK": {
        S: (SAME, [], []),
        R: (E, [], ["Connected", "Room"]),
        F1: (F2, [], []),
        CG: (TW, [], ["Finished"]),
        LA: (GONE, [], ["Finished"]),
        "-": NOTHING,
    },
    "ACK of the future": {S: AGAIN, R: (SAME, ["R"], []), "-": ACKED},
    "ACK of the past": {S: AGAIN, R: (SAME, ["R"], []), "-": ACKED},
    "text": {
        S: AGAIN,
        R: (SAME, ["R"], []),
        E: (SAME, ["A"], ["Received"]),
        F1: (SAME, ["A"], ["Received"]),
        F2: (SAME, ["A"], ["Received"]),
        "-": ACKED,
    },
    "text without ACK": {"-": NOTHING},
    "text beyond the window": {S: AGAIN, "-": ACKED},
    # What touches the window is looked at, as by Linux's tcp_sequence: in SYN-RECEIVED its ACK is found wrong.
    "text seen before": {S: AGAIN, R: (SAME, ["R"], []), "-": ACKED},
    "FIN": {
        S: AGAIN,
        R: (SAME, ["R"], []),
        E: (CW, ["A"], ["EndOfStream"]),
        F1: (CG, ["A"], ["EndOfStream"]),
        F2: (TW, ["A"], ["EndOfStream", "Finished"]),
        "-": ACKED,
    },
    "FIN, ACK of all": {
        S: (SAME, [], []),
        R: (CW, ["A"], ["Connected", "EndOfStream", "Room"]),
        E: (CW, ["A"], ["EndOfStream"]),
        F1: (TW, ["A"], ["EndOfStream", "Finished"]),
        F2: (TW, ["A"], ["EndOfStream", "Finished"]),
        CW: ACKED,
        CG: (TW, ["A"], ["Finished"]),
        LA: (GONE, [], ["Finished"]),
    },
    "RST": {
        S: NOTHING,  # RFC 9293 §3.10.7.3: without an acceptable ACK it is dropped
        CW: (GONE, [], ["Failed"]),
        "-": (GONE, [], ["Failed"]),
    },
    "RST, ACK of all": {"-": (GONE, [], ["Failed"])},
    "RST in the window": {S: NOTHING, "-": ACKED},
    "RST beyond the window": {"-": NOTHING},
    "write": {E: (SAME, ["PA"], []), CW: (SAME, ["PA"], []), "-": NOTHING},
    # In SYN-RECEIVED the FIN waits for the ACK of our SYN.
    "shutdown": {
        S: (GONE, [], ["Failed"]),
        R: (F1, [], []),
        E: (F1, ["FA"], []),
        CW: (LA, ["FA"], []),
        "-": NOTHING,
    },
    "close": {S: (GONE, [], []), R: (F1, [], []), E: (F1, ["FA"], []), CW: (LA, ["FA"], []), "-": NOTHING},
    "close, linger 0": {S: (GONE, [], []), CG: (GONE, [], []), LA: (GONE, [], []), "-": (GONE, ["RA"], [])},
    "abort": {S: (GONE, [], []), CG: (GONE, [], []), LA: (GONE, [], []), "-": (GONE, ["RA"], [])},
}


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", STATES)
def test_pair(state, event):
    conversation = in_state(state)
    sent = EVENTS[event](conversation, state)
    sent += [each for _, each in conversation.after(0.1)]
    row = TABLE[event]
    following, flags, events = row[state] if state in row else row["-"]
    assert conversation.state == (following or state)
    assert [each.flags for each in sent] == flags
    seen = [type(each).__name__ for each in conversation.events()]
    assert sorted(seen) == sorted(events)


def test_every_pair_of_the_transition_table_is_walked_by_the_pairs_above():
    walked = {
        (states.CLOSED, states.ACTIVE_OPEN),
        (states.CLOSED, states.PASSIVE_OPEN),
        (states.LISTEN, states.GOT_SYN),
        (states.LISTEN, states.GOT_COOKIE),  # test_cookies.py
        (states.LISTEN, states.CLOSE),  # test_listener.py
        (states.TIME_WAIT, states.TWO_MSL_PASSED),  # test_timewait.py
    }
    original = dict(states.TRANSITIONS)

    class Spy(dict):
        def __getitem__(self, pair):
            walked.add(pair)
            return original[pair]

    states.TRANSITIONS = Spy(original)
    try:
        for state in STATES:
            for event in EVENTS.values():
                event(in_state(state), state)
    finally:
        states.TRANSITIONS = original
    assert walked == set(original)


def test_nothing_is_sent_or_told_by_a_closed_connection():
    conversation = Conversation()
    assert conversation.sent() == [] and conversation.events() == [] and conversation.deadline() is None


def test_the_cause_of_a_failure():
    """Linux: ECONNREFUSED while opening, EPIPE once the peer has ended its side, else ECONNRESET."""
    for state, flags, cause in ((S, "RA", "refused"), (CW, "R", "broken_pipe"), (E, "R", "reset"), (LA, "R", "reset")):
        conversation = in_state(state)
        conversation.arrives(flags, RCV_NXT[state], SND_NXT[state])
        assert conversation.events() == [transport.Failed(1, cause)]


def test_sent_numbers_of_the_answers():
    """RFC 9293 §3.10.7.4: <SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>; RFC 5961 §3.2 the same."""
    assert in_state(E).arrives("R", 10) == [Sent("A", 1, 1, 0)]
    assert in_state(E).arrives("PA", FAR, 1, b"x") == [Sent("A", 1, 1, 0)]
    assert in_state(S).arrives("A", 0, 77) == [Sent("R", 77, 0, 0)]
