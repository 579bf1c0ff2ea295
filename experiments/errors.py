"""What can be wrong with a result folder, said in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class ResultError(Exception):
    """A file of a result folder is missing, damaged or of another schema; the text says which."""


@contextmanager
def damaged(*folders: Path, also: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Say of folders that were read and make no sense that they are damaged, as a ResultError.

    What is in them is anybody's: numbers where texts belong, lists where tables do. Files are
    checked for being there and whole; what their values lead to shows where they are used. `also`
    are errors of whatever uses them.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, *also) as error:
        names = ", ".join(map(str, folders))
        what = str(error).splitlines()[0] if str(error) else ""
        raise ResultError(f"{names}: damaged ({type(error).__name__}: {what})") from error
