"""Finds the project's own data files, in a checkout and in an installed wheel alike."""

from pathlib import Path

from copytrader_core.errors import ConfigError

_CORE = Path(__file__).resolve().parent


def data_dir(name: str) -> Path:
    """The folder `idl` or `sql` that ships with the code. Raises ConfigError when the installation lacks it."""
    for folder in (_CORE.parent / name, _CORE / "_files" / name):
        if folder.is_dir():
            return folder
    raise ConfigError(f"the folder {name!r} is missing beside {_CORE}: reinstall copytrader")
