"""Which interfaces of a network namespace forward IPv4 only because some pystack asked for it.

Linux forwards a packet if the interface by which it *came in* has ``forwarding`` on, so the replies need it on the
interface that leads out; which one that is, the routes say anew for each packet. ``net.ipv4.ip_forward`` is left alone:
it is a switch that overwrites the settings of all interfaces, so that they could not be restored; and as we never
touch it, its change tells that somebody else (docker, an administrator) wants forwarding now, and goes on wanting it.
"""

import os
from _socket import if_indextoname  # what nobody patches in place

_CONF = "/proc/sys/net/ipv4/conf/"
_ENTRY = "ipv4"  # of the record: {"switch": was the switch on, "interfaces": {index: name}}


def read(path):
    """The text of a sysctl's file; None if it is not there. Raises OSError."""
    try:
        with open(path) as file:
            return file.read().strip()
    except FileNotFoundError:
        return None


def write(path, text):
    """Set a sysctl; nothing happens if its file is not there. Raises OSError, with the file's name."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.write(fd, text.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(fd)


def name_of(index):
    """The name that an interface has now; None if it is gone, and its settings with it."""
    try:
        return if_indextoname(index)
    except OSError:
        return None


class Flags:
    """A setting of 0 or 1 that each interface has for itself, and those of them that pystacks have turned on.

    Args:
        folder: with a folder for each interface.
        setting: the file's name in it.
        interfaces: ``{index: name}`` of those that have been turned on. The name is for the person who reads it.
    """

    def __init__(self, folder, setting, interfaces=()):
        self.interfaces = {int(index): name for index, name in dict(interfaces).items()}
        self._folder = folder
        self._setting = setting

    def is_on(self, name):
        """Whether it is on; None if the interface does not have it, or is gone. Raises OSError."""
        text = read(self._path(name))
        return None if text is None else text != "0"

    def turn(self, name, on):
        """Set it; nothing happens if the interface does not have it, or is gone. Raises OSError, with a file name."""
        write(self._path(name), "1" if on else "0")

    def add(self, links):
        """Note those of *links*, ``(index, name)``, that are off; `turn_on` is to follow."""
        self.interfaces.update((index, name) for index, name in links if self.is_on(name) is False)

    def turn_on(self):
        """Turn on what is noted. Raises OSError."""
        for index in self.interfaces:
            name = name_of(index)
            if name is not None and not self.is_on(name):
                self.turn(name, True)

    def turn_off(self):
        """Turn off what is noted. Returns the OSErrors; what could not be set stays noted."""
        errors = []
        for index in list(self.interfaces):
            name = name_of(index)
            try:
                if name is not None:
                    self.turn(name, False)
            except OSError as error:
                errors.append(error)
            else:
                del self.interfaces[index]
        return errors

    def _path(self, name):
        return os.path.join(self._folder, name, self._setting)


class Ipv4Forwarding:
    """IPv4's, for one TAP; in the network namespace of the calling thread.

    `turn_on` and `turn_off` take the namespace's `record.Record`, entered.
    """

    possible = True

    def __init__(self, tap):
        self._tap = tap
        self._was_off = False  # the TAP's own
        self._was_switched_on = False  # all interfaces'

    def turn_on(self, record, others):
        """Forward what comes in by the TAP, and by *others*, ``[(index, name)]``. Raises OSError.

        Returns:
            the indexes of those interfaces that forward only because of pystacks.
        """
        flags, switch = self._load(record)
        if not flags.interfaces:
            switch = flags.is_on("all")
        flags.add(others)
        self._save(record, flags, switch)  # first: what is killed in between has recorded too much, not too little
        flags.turn_on()
        self._was_switched_on = flags.is_on("all")
        self._was_off = flags.is_on(self._tap) is False
        if self._was_off:
            flags.turn(self._tap, True)
        return list(flags.interfaces)

    def turn_off(self, record, last):
        """Undo it; of the other interfaces only if it is the *last* of all pystacks. Returns the OSErrors."""
        flags, switch = self._load(record)
        errors = []
        if last:
            errors = flags.turn_off()
            self._save(record, flags, switch)
        # As in _load: if all have been turned on, it is somebody else's now.
        if self._was_off and (self._was_switched_on or not flags.is_on("all")):
            try:
                flags.turn(self._tap, False)
            except OSError as error:
                errors.append(error)
        self._was_off = False
        return errors

    def _load(self, record):
        """``(flags, switch)``; all forgotten if somebody has turned on forwarding for the whole namespace meanwhile."""
        entry = record.entries.get(_ENTRY, {})
        flags = Flags(_CONF, "forwarding", entry.get("interfaces", {}))
        switch = entry.get("switch", False)
        if flags.interfaces and not switch and flags.is_on("all"):
            flags.interfaces = {}
            self._save(record, flags, switch)
        return flags, switch

    def _save(self, record, flags, switch):
        interfaces = flags.interfaces
        record.save(_ENTRY, {"switch": switch, "interfaces": interfaces} if interfaces else None)
