"""The protocol between `renderer_pool` and its child processes: a header, then UTF-8 of the length in it."""

import signal
import struct

HEADER = struct.Struct("!cI")
FORMATS = {b"m": "markdown", b"h": "html"}  # in a request: the format of the text
DONE, REFUSED = b"+", b"-"  # in a response: HTML, or the reason of the refusal
CPU_SIGNAL = signal.SIGPROF  # ends a process whose text takes too much processor time
