"""Events of one host as JSON lines: time, node, event, the seed's numeral, details; no secret."""

import json
import time
from pathlib import Path

from mobivpn.host.effects import Record


class EventLog:
    """Appends events to a file, one write each, so that a killed agent loses none."""

    def __init__(self, path: Path, node: str) -> None:
        self._file = path.open("a", buffering=1)
        self._node = node

    def write(self, record: Record) -> None:
        """Write one event with the wall-clock time (s) of now."""
        line = {
            "time": time.time(),
            "node": self._node,
            "event": record.event,
            "numeral": record.numeral,
            "details": dict(record.details),
        }
        self._file.write(json.dumps(line) + "\n")
