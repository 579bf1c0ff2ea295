"""What these tests look at: runs, begun before the first test so that they use all cores.

A test names its runs with `@pytest.mark.runs(asked("walk"), …)` and gets them as `runs`.
"""

from collections.abc import Sequence

import pytest

from tests.support.runs import Asked, Run, Runs
from vm.capacity import vms_that_fit

KEY = pytest.StashKey[Runs]()


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin all runs that the selected tests need."""
    if session.config.option.collectonly:
        return
    wanted = [one for item in session.items for one in _wanted(item)]
    if wanted:
        folder = session.config._tmp_path_factory.mktemp("results")  # type: ignore[attr-defined]
        runs = session.config.stash[KEY] = Runs(vms_that_fit())
        runs.want(wanted, folder)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leave no run behind, whatever ended the session."""
    runs = session.config.stash.get(KEY, None)
    if runs is not None:
        runs.close()


@pytest.fixture
def runs(request: pytest.FixtureRequest) -> Sequence[Run]:
    """The runs that the test has named, in that order."""
    made = request.config.stash[KEY]
    return [made[one] for one in _wanted(request.node)]


def _wanted(item: pytest.Item) -> Sequence[Asked]:
    marker = item.get_closest_marker("runs")
    return marker.args if marker is not None else ()
