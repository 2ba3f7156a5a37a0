"""The library's numbers by name."""

from __future__ import annotations

import enum


class ErrorCode(enum.IntEnum):
    """The kind of a `BatonError`."""

    NONE = 0
    MISSING = 1
    BUSY = 2
    TRUNCATED = 3
    FOREIGN = 4
    WRONG_VERSION = 5
    DAMAGED = 6
    PERMISSION = 7
    UNSUPPORTED = 8
    EXHAUSTED = 9
    INVALID = 10
    SYSTEM = 11
    TIMEOUT = 12


class Which(enum.IntEnum):
    """One of the two controllers. EITHER: the host chooses."""

    A = 0
    B = 1
    EITHER = 0xFF


class Mask(enum.IntFlag):
    """A set of controllers."""

    A = 1
    B = 2
    BOTH = 3


class Operation(enum.IntEnum):
    """What a request asks for."""

    READ = 1
    WRITE = 2
    FLUSH = 3
    DISCARD = 4
    WRITE_ZEROES = 5
    FILL_ZEROES = 6
    UNIT_STATE = 18
    SET_UNIT_STATE = 19


class Flag(enum.IntFlag):
    """DURABLE: answered when the data is on stable storage. FAST: refused if zeroing would take as long as a write."""

    DURABLE = 0x01
    FAST = 0x80


class Status(enum.IntEnum):
    """The result of a request."""

    SUCCESS = 0
    INVALID_OPERATION = 1
    NO_SUCH_UNIT = 2
    OUT_OF_RANGE = 3
    MISALIGNED = 4
    ZERO_LENGTH = 5
    TOO_LONG = 6
    BAD_BUFFER = 7
    INVALID_VALUE = 8
    READ_ONLY = 9
    OFFLINE = 10
    IO_ERROR = 11
    NO_SPACE = 12
    UNSUPPORTED = 13
    LEAVING = 14
    CONTROLLER_LOST = 15
    IN_USE = 16


class UnitState(enum.IntEnum):
    """What a unit may be used for."""

    ONLINE = 0
    READ_ONLY = 1
    OFFLINE = 2


class UnitKind(enum.IntEnum):
    """What lies behind a unit."""

    FILE = 1
    BLOCK_DEVICE = 2
    MEMORY = 3
    NULL = 4


class Wait(enum.IntEnum):
    """How a loop waits: ADAPTIVE spins for a while and then sleeps."""

    ADAPTIVE = 0
    SPIN = 1
    PARK = 2


class LogLevel(enum.IntEnum):
    """From which level on a controller logs."""

    NONE = 0
    ERROR = 1
    WARNING = 2
    INFO = 3


class Phase(enum.IntEnum):
    """Where a controller's life stands."""

    ABSENT = 0
    SERVING = 1
    LEAVING = 2
    STARTING = 3


class Standing(enum.IntEnum):
    """A controller's membership in its subsystem."""

    VACANT = 0
    MEMBER = 1
    FENCED = 2
    LEFT = 3
