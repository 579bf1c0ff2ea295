"""What a user's program and its lab say to each other: numbered files in a folder that both see.

`request-N.json` is answered by `answer-N.json`; answer 0 says that time zero has come. Each is
renamed into its place, so that who finds it finds all of it (docs/adr/0025).
"""

import os
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from experiments.scenario import Move


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Request(_Said):
    """Something to be done `at_s` after time zero, or as soon after as it can be."""

    at_s: float


class MakeMoves(_Request):
    """Move nodes, all in this instant."""

    do: Literal["move"] = "move"
    moves: tuple[Move, ...]


class StartCommand(_Request):
    """Start a command in a host."""

    do: Literal["start"] = "start"
    host: str
    command: tuple[str, ...]


class AwaitCommand(_Request):
    """Wait for the end of a command, with `interrupt` after SIGINT."""

    do: Literal["await_command"] = "await_command"
    number: int
    within_s: float
    interrupt: bool = False


class AwaitEvent(_Request):
    """Wait until a host's program tells of an event at `since_s` or later."""

    do: Literal["await_event"] = "await_event"
    event: str
    node: str
    since_s: float
    within_s: float


class WriteEvent(_Request):
    """Write an event of the user's own."""

    do: Literal["record"] = "record"
    event: str
    details: dict[str, object]


class End(_Request):
    """End the run."""

    do: Literal["end"] = "end"


Request = Annotated[
    MakeMoves | StartCommand | AwaitCommand | AwaitEvent | WriteEvent | End,
    Field(discriminator="do"),
]


class Ended(_Said):
    """What a command has left."""

    exit_code: int
    output: str
    errors: str


class Answer(_Said):
    """What came of a request, and how late it is then.

    `started` is the number of a command, `event` a line of an event log; `refused` says why
    nothing came of the request.
    """

    now_s: float
    started: int | None = None
    ended: Ended | None = None
    event: str | None = None
    refused: str | None = None


_REQUEST: TypeAdapter[Request] = TypeAdapter(Request)
_ANSWER = TypeAdapter(Answer)
_Any = TypeVar("_Any")


def ask(folder: Path, number: int, request: Request) -> None:
    """Leave a request."""
    _leave(folder / f"request-{number}.json", request)


def answer(folder: Path, number: int, given: Answer) -> None:
    """Leave the answer to a request."""
    _leave(folder / f"answer-{number}.json", given)


def request(folder: Path, number: int) -> Request | None:
    """Return a request if it is there."""
    return _found(folder / f"request-{number}.json", _REQUEST)


def answered(folder: Path, number: int) -> Answer | None:
    """Return the answer to a request if it is there."""
    return _found(folder / f"answer-{number}.json", _ANSWER)


def _leave(path: Path, said: BaseModel) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(said.model_dump_json(), encoding="utf-8")
    partial.rename(path)


def _found(path: Path, kind: TypeAdapter[_Any]) -> _Any | None:
    # Listed, not opened: a lab's kernel lists a folder of the host anew each time, and that takes
    # no virtual time; to look for a file that is not there takes a microsecond.
    if path.name not in os.listdir(path.parent):
        return None
    return kind.validate_json(path.read_bytes())
