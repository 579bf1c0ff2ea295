"""Where this program keeps what: the checkout, the cache, the folders of runs under way."""

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent


def cache() -> Path:
    """Return the user's cache folder of this program; it may not exist yet."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG base directory specification has relative paths ignored.
    base = Path(given) if given.startswith("/") else Path("~/.cache").expanduser()
    return base / "mobivpn"


def runs() -> Path:
    """Return the folder that holds one folder per run under way."""
    return cache() / "runs"
