"""Text that has come out of order, until the bytes before it are there: what the SACK option tells the peer of."""

import heapq
from bisect import bisect_left, bisect_right

from pystack.tcp.receivebuffer import COPIED, OVERHEAD, keep

FIN = b""  # the buffer of a piece that is not text but FIN, one sequence number long

_RECENT = 8  # blocks whose order of change is remembered: more than a SACK option can tell of
_JOINED = 4096  # short pieces that continue each other are joined up to this size


class Block:
    """A contiguous range ``left`` to ``right``, and its pieces in order, ``[buffer, size, charge]`` each."""

    __slots__ = ("changed", "left", "pieces", "right")

    def __init__(self, left, right, pieces):
        self.left = left
        self.right = right
        self.pieces = pieces
        self.changed = 0  # the number of the last change: the greater, the newer


class Reassembly:
    """Blocks, sorted, disjoint and never adjacent. Of bytes that come twice the first are kept.

    ``charged`` counts the bytes that it holds, with the frames that they pin; telling `Memory` is the owner's task.
    """

    __slots__ = ("_blocks", "_changes", "_lefts", "_recent", "charged", "duplicate")

    def __init__(self):
        self._blocks = []
        self._lefts = []  # of the blocks, for bisect
        self._recent = []  # blocks, the most recently changed first; those that are gone are skipped
        self._changes = 0
        self.charged = 0
        self.duplicate = None  # (left, right): the first range of the last insert that was there already

    def __bool__(self):
        return bool(self._blocks)

    @property
    def left(self):
        """The first byte held; there must be one."""
        return self._lefts[0]

    @property
    def right(self):
        """One past the last byte held; there must be one."""
        return self._blocks[-1].right

    def insert(self, seq, payload, frame_size):
        """Hold *payload*, a view into a frame of *frame_size* bytes, from number *seq* on.

        Returns:
            The change of ``charged``.
        """
        before = self.charged
        right = seq + len(payload)
        blocks = self._blocks
        last = blocks[-1] if blocks else None
        if last is not None and last.right == seq:  # the usual case: what follows a loss
            self.duplicate = None
            self._extend(last, payload, frame_size)
            self._touch(last)
        else:
            self._merge(seq, right, payload, frame_size)
        return self.charged - before

    def insert_fin(self, seq):
        """Hold a FIN at *seq*, beyond which nothing may be held. Returns the change of ``charged``."""
        before = self.charged
        self._merge(seq, seq + 1, None, 0)
        return self.charged - before

    def pop_ready(self, rcv_nxt):
        """Take out the pieces of the block that begins at *rcv_nxt*, ``[(buffer, size, charge), ...]``; there may be
        none. They are no longer in ``charged``."""
        if not self._blocks or self._lefts[0] != rcv_nxt:
            return []
        block = self._blocks.pop(0)
        del self._lefts[0]
        self._forget(block)
        for piece in block.pieces:
            self.charged -= piece[2]
        return block.pieces

    def prune(self, size, above):
        """Let go of pieces from the highest down, above number *above* only, until *size* bytes charged are free.

        The peer may have been told that they were here: RFC 2018 §8 allows it, and asks that it be rare.

        Returns:
            The bytes freed.
        """
        freed = 0
        blocks = self._blocks
        while blocks and freed < size:
            block = blocks[-1]
            _, length, charge = block.pieces[-1]
            if block.right - length < above:
                break
            block.pieces.pop()
            block.right -= length
            freed += charge
            if not block.pieces:
                self._remove_last()
        self.charged -= freed
        return freed

    def cut(self, seq):
        """Let go of what is at or beyond number *seq*, where the stream ends. Returns the bytes freed."""
        before = self.charged
        blocks = self._blocks
        while blocks and blocks[-1].right > seq:
            block = blocks[-1]
            piece = block.pieces[-1]
            start = block.right - piece[1]
            if start < seq:
                piece[0] = piece[0][: seq - start]
                piece[1] = seq - start
                block.right = seq
                break
            block.pieces.pop()
            block.right = start
            self.charged -= piece[2]
            if not block.pieces:
                self._remove_last()
        return before - self.charged

    def blocks(self, limit):
        """``[(left, right), ...]``, at most *limit*, the most recently changed first (RFC 2018 §4)."""
        if len(self._recent) < min(limit, len(self._blocks)):
            self._recent = heapq.nlargest(_RECENT, self._blocks, key=_changed)
        return [(block.left, block.right) for block in self._recent[:limit]]

    def ranges(self):
        """All blocks as ``[(left, right), ...]``, in order."""
        return [(block.left, block.right) for block in self._blocks]

    def clear(self):
        """Let go of everything. Returns the bytes freed."""
        freed = self.charged
        self.charged = 0
        self._blocks.clear()
        self._lefts.clear()
        self._recent.clear()
        return freed

    def _merge(self, left, right, payload, frame_size):
        """Make one block of the new range and all blocks that it overlaps or touches; without *payload* it is FIN's."""
        blocks, lefts = self._blocks, self._lefts
        first = bisect_left(lefts, left)
        if first and blocks[first - 1].right >= left:
            first -= 1
        last = bisect_right(lefts, right, first)
        touched = blocks[first:last]
        self.duplicate = None
        if len(touched) == 1 and touched[0].left <= left and right <= touched[0].right:
            self.duplicate = (left, right)
            self._touch(touched[0])
            return
        block = Block(left, left, [])
        if touched and touched[0].left <= left:
            block = touched[0]
        for each in touched:
            if each.left < right and left < each.right and self.duplicate is None:
                self.duplicate = (max(each.left, left), min(each.right, right))
            if each is block:
                continue
            if block.right < each.left:
                gap = payload[block.right - left : each.left - left]
                self._extend(block, gap, frame_size)
            block.pieces.extend(each.pieces)
            block.right = each.right
        if block.right < right:
            self._extend(block, payload[block.right - left :] if payload is not None else None, frame_size)
        for each in touched:
            self._forget(each)
        blocks[first:last] = [block]
        lefts[first:last] = [block.left]
        self._touch(block)

    def _extend(self, block, payload, frame_size):
        """Add *payload*, or FIN if it is None, at the block's end."""
        pieces = block.pieces
        if payload is None:
            buffer, size, charge = FIN, 1, OVERHEAD
        else:
            size = len(payload)
            if pieces and size < COPIED:
                last = pieces[-1]
                if type(last[0]) is bytearray and len(last[0]) < _JOINED:
                    last[0] += payload
                    last[1] += size
                    last[2] += size
                    block.right += size
                    self.charged += size
                    return
            buffer, charge = keep(payload, frame_size)
        pieces.append([buffer, size, charge])
        block.right += size
        self.charged += charge

    def _touch(self, block):
        self._changes += 1
        block.changed = self._changes
        recent = self._recent
        if not recent or recent[0] is not block:
            if block in recent:
                recent.remove(block)
            recent.insert(0, block)
            del recent[_RECENT:]

    def _forget(self, block):
        if block in self._recent:
            self._recent.remove(block)

    def _remove_last(self):
        self._forget(self._blocks.pop())
        self._lefts.pop()


def _changed(block):
    return block.changed
