"""pytest plugin: tests marked `lab` run inside the lab, the others here, in one session.

Here, a lab test is carried out by asking for its reports; a pytest inside a lab VM makes them,
with this plugin too, and writes each as a line on the lab's console. So selection, output, -x,
JUnit files and exit code are pytest's own. Files are spread over as many VMs as the machine holds.
"""

import contextlib
import json
import os
import queue
import sys
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest

from vm import environment, kernel, machine, packages
from vm.capacity import vms_that_fit
from vm.clock import Clock
from vm.errors import LabCrashed, LabError
from vm.job import Job
from vm.machine import Machine
from vm.progress import Progress

INSIDE = "MOBIVPN_LAB"
MARK = "lab"
# A record separator: no line that a program prints begins with it.
_REPORT = "\x1e"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say where and for how long lab tests run."""
    group = parser.getgroup("lab")
    group.addoption("--lab-machine", choices=[m.value for m in Machine], default="auto")
    group.addoption("--lab-limit", type=float, default=1200.0, metavar="S", help="of one lab VM")
    group.addoption("--lab-vms", type=int, default=0, metavar="N", help="[default: what fits]")


def pytest_configure(config: pytest.Config) -> None:
    """Take the part that this process has."""
    if os.environ.get(INSIDE):
        config.pluginmanager.register(Inside(config), "lab-inside")
    # The processes of pytest-xdist (-n) would each boot labs of their own.
    elif not config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Outside(config), "lab-outside")


class Inside:
    """In the lab: write each report on the console."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        # Taken before tests' output is captured.
        self._console = os.fdopen(os.dup(1), "w", encoding="utf-8")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Send a report out."""
        hook = self._config.hook
        data = hook.pytest_report_to_serializable(config=self._config, report=report)
        self._console.write(f"\n{_REPORT}{json.dumps(data, default=str)}\n")
        self._console.flush()


class Outside:
    """On the machine: have lab tests carried out in lab VMs, and pass their reports on."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._groups: list[list[str]] = []
        self._workers: dict[str, Worker] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Put lab tests last: what is quick fails first."""
        items.sort(key=_is_lab)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Set up, before any test, what lab tests need."""
        node_ids = [item.nodeid for item in session.items if _is_lab(item)]
        if not node_ids or session.config.option.collectonly:
            return
        with self._output_shown():
            progress = Progress()
            try:
                self._prepare(progress)
            except LabError as error:
                pytest.exit(str(error), returncode=error.exit_code)
            finally:
                progress.end()
        count = self._config.option.lab_vms or vms_that_fit()
        self._groups = spread(node_ids, count)

    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """Carry out a lab test: wait for its reports, pass them on."""
        if not _is_lab(item):
            return None
        if not self._workers:
            self._start()
        hook = item.ihook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for data in self._workers[item.nodeid].reports_of(item.nodeid):
            if data is None:
                report = _missing_report(item, self._workers[item.nodeid].account())
            else:
                report = hook.pytest_report_from_serializable(config=self._config, data=data)
            hook.pytest_runtest_logreport(report=report)
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def pytest_sessionfinish(self) -> None:
        """Leave no VM behind, whatever ended the session."""
        for worker in set(self._workers.values()):
            worker.stop()

    def _prepare(self, progress: Progress) -> None:
        asked = Machine(self._config.option.lab_machine)
        needs = {packages.Need.LAB}
        if asked is not Machine.NATIVE:
            needs.add(packages.Need.KERNEL)
        packages.ensure(needs, progress)
        self._machine, self._clock = machine.choose(asked, None, usual=Clock.VIRTUAL)
        if self._machine is Machine.UML:
            kernel.ensure(progress)

    def _start(self) -> None:
        root, settings = self._config.rootpath, self._config.inipath
        same = (f"--rootdir={root}", *(("-c", str(settings)) if settings else ()))
        for group in self._groups:
            job = Job(
                command=(
                    *(sys.executable, "-m", "pytest", "-p", "vm.pytest_lab"),
                    *("-p", "no:cacheprovider", "-q", f"--tb={self._config.option.tbstyle}"),
                    *same,
                    *group,
                ),
                directory=root,
                environment={**environment.variables(), INSIDE: "1"},
                clock=self._clock,
                limit_s=self._config.option.lab_limit,
            )
            worker = Worker(job, self._machine)
            self._workers |= dict.fromkeys(group, worker)

    @contextlib.contextmanager
    def _output_shown(self) -> Any:
        capture = self._config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
            yield


class Worker:
    """One lab VM with a pytest in it, looked after by a thread."""

    def __init__(self, job: Job, used: Machine) -> None:
        self._reports: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._kept: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._ended = False
        self._said: list[str] = []
        self._rest = b""
        self._why = "the lab ended before this test did"
        self._stop_read, self._stop_write = os.pipe()
        self._thread = threading.Thread(target=self._run, args=(job, used), daemon=True)
        self._thread.start()

    def reports_of(self, node_id: str) -> Iterable[dict[str, Any] | None]:
        """Yield a test's reports as they come; None when there will be no (more) of them."""
        while True:
            for data in self._kept.pop(node_id, ()):
                yield data
                if data["when"] == "teardown":
                    return
            if self._ended:
                yield None
                return
            came = self._reports.get()
            if came is None:
                self._ended = True
            else:
                self._kept[came["nodeid"]].append(came)

    def account(self) -> str:
        """Say why the lab ended, and what it said last."""
        return "\n".join((self._why, *self._said[-40:]))

    def stop(self) -> None:
        """End the VM if it still runs; wait until it is gone."""
        with contextlib.suppress(OSError):
            os.close(self._stop_write)
        self._thread.join()
        with contextlib.suppress(OSError):
            os.close(self._stop_read)

    def _run(self, job: Job, used: Machine) -> None:
        try:
            code = machine.run(
                job, used, self._take, progress=lambda *step: None, control=self._stop_read
            )
            self._why = f"pytest in the lab ended with exit code {code} before this test was done"
        except LabCrashed as error:
            self._why = f"{error}\n{error.console}"
        except (LabError, OSError) as error:
            self._why = str(error)
        finally:
            self._reports.put(None)

    def _take(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for raw in lines:
            line = raw.decode("utf-8", errors="replace")
            if line.startswith(_REPORT):
                self._reports.put(parsed(line.removeprefix(_REPORT)))
            elif line:
                self._said.append(line)


def parsed(text: str) -> dict[str, Any]:
    """Return a report's data as pytest made it: JSON has no tuples."""
    data: dict[str, Any] = json.loads(text)
    for key in ("location", "longrepr"):
        if isinstance(data[key], list):
            data[key] = tuple(data[key])
    data["user_properties"] = [tuple(pair) for pair in data["user_properties"]]
    data["sections"] = [tuple(pair) for pair in data["sections"]]
    return data


def spread(node_ids: Sequence[str], count: int) -> list[list[str]]:
    """Spread tests over `count` VMs, a file's tests together, so that each has about as many."""
    by_file: Mapping[str, list[str]] = defaultdict(list)
    for node_id in node_ids:
        by_file[node_id.partition("::")[0]].append(node_id)
    groups: list[list[str]] = [[] for _ in range(min(count, len(by_file)))]
    for tests in sorted(by_file.values(), key=len, reverse=True):
        min(groups, key=len).extend(tests)
    return groups


def _is_lab(item: pytest.Item) -> bool:
    return item.get_closest_marker(MARK) is not None


def _missing_report(item: pytest.Item, why: str) -> pytest.TestReport:
    return pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords={},
        outcome="failed",
        longrepr=why,
        when="call",
    )
