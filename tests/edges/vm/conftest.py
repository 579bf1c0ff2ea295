"""A cache of the test's own, so that no test touches the user's."""

from pathlib import Path

import pytest

from vm import kernel, places


@pytest.fixture(scope="session")
def user_kernel() -> Path | None:
    """Return the lab kernel of the user's cache, found before any test moves the cache."""
    return kernel.find()


@pytest.fixture
def cache(user_kernel: Path | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache folder that this process and its children use."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return places.cache()


@pytest.fixture
def lab_kernel(user_kernel: Path | None) -> Path:
    """Return the lab kernel of the user's cache."""
    if user_kernel is None:
        pytest.skip("needs the lab kernel, which ./lab test tests/lab builds")
    return user_kernel
