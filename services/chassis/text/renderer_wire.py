"""How `richtext` and its rendering process talk: a header, then UTF-8 of the length it names."""

import signal
import struct

HEADER = struct.Struct("!cI")
FORMATS = {b"m": "markdown", b"h": "html"}  # in a request: what the text is
DONE, REFUSED = b"+", b"-"  # in an answer: HTML, or why there is none
CPU_SIGNAL = signal.SIGPROF  # what ends a process whose text costs too much
