"""Record what passes a device, as pcapng with nanosecond stamps (draft-ietf-opsawg-pcapng), for Wireshark."""

import os
import struct
import sys
import time

from pystack.counts import Counts
from pystack.device.base import VNET_HEADER, Wrapper
from pystack.errors import DeviceError
from pystack.wire import vnet

_EPB_FLAGS = 2  # option of an enhanced packet block
_INBOUND = 1
_OUTBOUND = 2
_ORIGINAL_LENGTH_AT = 24  # offset in an enhanced packet block
_WORD = struct.Struct("=I")


class Capture(Wrapper):
    """Record the frames that enter and leave *device*. A disk that fills up ends the recording, not the network.

    Frames are written without the virtio-net header and with their checksums completed; a super-segment is recorded as
    one. Around `Impaired` it shows what the stack sees, inside of it what the wire carries.

    Args:
        device: any, not yet open.
        path_or_file: path of a file to (over)write, or a binary file object, which is flushed but not closed.
        snaplen: bytes kept of each frame.
        wall_clock: nanoseconds since 1970; read once, at the first frame; from there on the stack's clock counts.

    Attributes:
        counts: `Counts`: ``captured`` frames, ``capture_lost`` (not written any more), ``capture_failures``.
    """

    def __init__(self, device, path_or_file, snaplen=262144, wall_clock=time.time_ns):
        super().__init__(device)
        self._counts = Counts()
        self._target = path_or_file
        self._snaplen = snaplen
        self._wall_clock = wall_clock
        self._offset = None  # nanoseconds between the stack's clock and the wall's
        self._file = None
        self._owned = isinstance(path_or_file, (str, bytes, os.PathLike))
        self._size = 0  # of what is whole in the file
        self._packet_block = None  # dpkt's class, and its options for the two directions
        self._options = {}

    def open(self):
        """Open the file, then the device. Raises DeviceError for either."""
        if self._file is not None:
            return
        try:
            start = self._prepare()
        except ImportError as error:
            raise DeviceError("a capture needs dpkt: pip install dpkt") from error
        try:
            self._file = open(self._target, "wb", buffering=0) if self._owned else self._target
        except OSError as error:
            raise DeviceError(f"cannot write the capture {self._target!r}: {error.strerror}") from error
        self._size = 0
        self._offset = None
        try:
            self.inner.open()
            # The interface's name is known only now.
            self._write(start())
        except BaseException:
            self._close_file()
            raise

    def receive(self, now):
        frames = self.inner.receive(now)
        if frames:
            self._record(frames, now, _INBOUND)
        return frames

    def transmit(self, frames, now):
        if self._file is not None:
            self._record([b"".join(frame) for frame in frames], now, _OUTBOUND)
        self.inner.transmit(frames, now)

    def close(self):
        try:
            self.inner.close()
        finally:
            self._close_file()

    def abandon(self):
        self.inner.abandon()
        file, self._file = self._file, None
        if self._owned and file is not None:
            file.close()

    def _prepare(self):
        """Look up dpkt's classes; returns a function that makes the file's first two blocks."""
        from dpkt import pcapng

        if sys.byteorder == "little":
            section, interface = pcapng.SectionHeaderBlockLE, pcapng.InterfaceDescriptionBlockLE
            block, option = pcapng.EnhancedPacketBlockLE, pcapng.PcapngOptionLE
        else:
            section, interface = pcapng.SectionHeaderBlock, pcapng.InterfaceDescriptionBlock
            block, option = pcapng.EnhancedPacketBlock, pcapng.PcapngOption
        self._packet_block = block
        end = option(code=pcapng.PCAPNG_OPT_ENDOFOPT)
        for direction in (_INBOUND, _OUTBOUND):
            self._options[direction] = [option(code=_EPB_FLAGS, data=_WORD.pack(direction)), end]

        def start():
            options = [option(code=pcapng.PCAPNG_OPT_IF_TSRESOL, data=b"\x09"), end]
            if self.inner.name:
                options.insert(0, option(code=pcapng.PCAPNG_OPT_IF_NAME, data=os.fsencode(self.inner.name)))
            application = [option(code=pcapng.PCAPNG_OPT_SHB_USERAPPL, data=b"pystack"), end]
            described = interface(snaplen=self._snaplen, linktype=pcapng.DLT_EN10MB, opts=options)
            return bytes(section(opts=application)) + bytes(described)

        return start

    def _record(self, frames, now, direction):
        if self._file is None:
            self._counts["capture_lost"] += len(frames)
            return
        if self._offset is None:
            self._offset = self._wall_clock() - round(now * 1e9)
        at = self._offset + round(now * 1e9)
        # One write per batch: nothing is left to lose when the process is killed.
        if self._write(b"".join([self._block(frame, at, direction) for frame in frames])):
            self._counts["captured"] += len(frames)
        else:
            self._counts["capture_lost"] += len(frames)

    def _block(self, frame, at, direction):
        packet = vnet.complete_checksum(frame)[VNET_HEADER:]
        kept = packet[: self._snaplen]
        block = bytes(
            self._packet_block(
                ts_high=at >> 32 & 0xFFFFFFFF, ts_low=at & 0xFFFFFFFF, pkt_data=kept, opts=self._options[direction]
            )
        )
        if len(kept) == len(packet):
            return block
        # dpkt writes the captured length as the original one too.
        block = bytearray(block)
        _WORD.pack_into(block, _ORIGINAL_LENGTH_AT, len(packet))
        return bytes(block)

    def _write(self, data):
        """Whether all of it is in the file. If not, the recording is over; the file ends with its last whole batch."""
        rest = data
        try:
            while rest:
                written = self._file.write(rest)
                if written == 0:
                    raise OSError("nothing was written")
                # A raw file takes a part if the disk is about to be full; some file objects do not say how much.
                rest = rest[written:] if written is not None else b""
            if not self._owned:
                self._file.flush()  # a forked child must not hold a copy of what is not yet written
            self._size += len(data)
            return True
        except (OSError, ValueError):  # ValueError: the file object was closed by its owner
            self._counts["capture_failures"] += 1
            if self._owned:
                try:
                    self._file.truncate(self._size)
                except OSError:
                    pass
            self._close_file()
            return False

    def _close_file(self):
        file, self._file = self._file, None
        if file is None:
            return
        try:
            if self._owned:
                file.close()
            else:
                file.flush()
        except (OSError, ValueError):
            self._counts["capture_failures"] += 1
