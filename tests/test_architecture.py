"""The import law of docs/concepts/architecture.md, as pyproject.toml states it."""

from pathlib import Path

import pytest
from importlinter.cli import lint_imports

CHECKOUT = Path(__file__).resolve().parent.parent


def test_imports_keep_the_law(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # It looks for the packages as Python does.
    monkeypatch.chdir(CHECKOUT)
    for folder in (CHECKOUT, CHECKOUT / "src"):
        monkeypatch.syspath_prepend(folder)
    status = lint_imports(
        config_filename=str(CHECKOUT / "pyproject.toml"), no_cache=True, no_logo=True
    )
    assert status == 0, capsys.readouterr().out


def test_the_core_is_all_that_is_installed() -> None:
    setup = (CHECKOUT / "setup.py").read_text(encoding="utf-8")
    assert 'package_dir={"": "src"}' in setup
    assert [path.name for path in (CHECKOUT / "src").iterdir() if path.suffix == ""] == ["mobivpn"]
