"""Forwarding of IPv6 that is on only because some pystack asked for it.

Linux forwards an IPv6 packet if ``net.ipv6.conf.all.forwarding`` is on, or, since 6.17, if the interface by which it
came in has ``force_forwarding``. The latter is turned on where there is one: it changes nothing else.

Before, only the switch is left. To turn it does more: it overwrites ``forwarding`` of all interfaces, which says
whether the host is a router *to its neighbours* there, and so no longer believes their router advertisements unless
``accept_ra`` is 2; and the kernel drops at once the routes that it has from such, with the same exception. So
``accept_ra`` is 2 while the switch is turned, and then all of these settings are put back: the host stays a host.
"""

import os

from pystack.device.forwarding import Flags, read, write

_CONF = "/proc/sys/net/ipv6/conf/"
_SWITCH = _CONF + "all/forwarding"
FORCE = "force_forwarding"
# Of the record: {"interfaces": {index: name} with FORCE, "switched": is the switch on because of us, "default":
# conf/default/forwarding as it was then, "unfinished": {"interface/setting": text} to be put back}
_ENTRY = "ipv6"


class Ipv6Forwarding:
    """As `forwarding.Ipv4Forwarding`.

    An interface that appears while the switch is on because of a pystack forwards, too.
    """

    def __init__(self, tap):
        self._tap = tap
        self._was_off = False  # FORCE of the TAP

    @property
    def possible(self):
        """Whether the TAP has IPv6 at all."""
        return read(f"{_CONF}{self._tap}/disable_ipv6") == "0"

    def turn_on(self, record, others):
        """See `Ipv4Forwarding.turn_on`."""
        entry = _load(record)
        if not entry.get("switched") and read(_SWITCH) != "0":
            return []  # the host is a router
        flags = Flags(_CONF, FORCE, entry.get("interfaces", {}))
        self._was_off = flags.is_on(self._tap) is False
        if flags.is_on(self._tap) is None:
            if read(_SWITCH) == "0":
                _turn_switch(record, entry, "1")
            return [index for index, _ in others]
        flags.add(others)
        record.save(_ENTRY, {**entry, "interfaces": flags.interfaces})
        flags.turn_on()
        if self._was_off:
            flags.turn(self._tap, True)
        return list(flags.interfaces)

    def turn_off(self, record, last):
        """See `Ipv4Forwarding.turn_off`."""
        entry, errors = _load(record), []
        flags = Flags(_CONF, FORCE, entry.get("interfaces", {}))
        try:
            if self._was_off:
                flags.turn(self._tap, False)
            if last and entry.get("switched") and read(_SWITCH) != "0":
                _turn_switch(record, entry, "0")
        except OSError as error:
            errors.append(error)
        if last:
            errors += flags.turn_off()
            still_on = entry.get("switched") and read(_SWITCH) != "0"
            kept = {"switched": True, "default": entry["default"]} if still_on else {}
            if flags.interfaces:
                kept["interfaces"] = flags.interfaces
            record.save(_ENTRY, kept)
        self._was_off = False
        return errors


def _load(record):
    """Our entry, a dict, after what somebody who was killed has left half-done is put back. Raises OSError."""
    entry = dict(record.entries.get(_ENTRY, {}))
    if "unfinished" in entry:
        _put_back(entry.pop("unfinished"))
        record.save(_ENTRY, entry)
    # We have left the default as it was; who turns the switch sets it as well. Then it is theirs, and stays on.
    if entry.get("switched") and entry["default"] == "0" and read(_CONF + "default/forwarding") != "0":
        del entry["switched"]
        record.save(_ENTRY, entry)
    return entry


def _turn_switch(record, entry, text):
    """Set the switch, and nothing else. *entry*, which is kept up to date, is as `_load` gives it. Raises OSError."""
    before = {}
    for name in os.listdir(_CONF):
        for setting in ("forwarding", "accept_ra"):
            if name != "all" and (name, setting) != ("default", "accept_ra"):
                value = read(f"{_CONF}{name}/{setting}")
                if value is not None:  # else the interface has gone meanwhile
                    before[f"{name}/{setting}"] = value
    if text == "1":
        entry["default"] = before["default/forwarding"]
    entry["switched"] = True
    record.save(_ENTRY, {**entry, "unfinished": before})
    try:
        for place, value in before.items():
            name, _, setting = place.partition("/")
            # Only where routers are believed now: an advertisement may come in this moment.
            if setting == "accept_ra" and value == "1" and before.get(f"{name}/forwarding") == "0":
                write(_CONF + place, "2")
        write(_SWITCH, text)
    finally:
        _put_back(before)
        if read(_SWITCH) == "0":
            del entry["switched"]
        record.save(_ENTRY, entry)


def _put_back(settings):
    """``forwarding`` first: to turn it on costs the routes, too, where ``accept_ra`` is not 2."""
    for place in sorted(settings, key=lambda place: place.endswith("/accept_ra")):
        if read(_CONF + place) not in (settings[place], None):
            write(_CONF + place, settings[place])
