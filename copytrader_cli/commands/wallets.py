"""`copytrader wallets import | list`."""

from pathlib import Path

import typer

from copytrader_core.store import wallets
from copytrader_core.store.postgres import connect

app = typer.Typer(no_args_is_help=True, help="Import the tracked wallets and their names.")


@app.command("import")
def import_(file: Path = typer.Argument(..., metavar="FILE.db", help="SQLite file with a `wallets` table")) -> None:
    """Read wallets and names from a SQLite file. May be repeated: names are brought up to date."""
    with connect() as connection:
        report = wallets.import_sqlite(connection, file)
    print(
        f"imported {len(report.imported)}, updated {len(report.updated)}, "
        f"unchanged {len(report.unchanged)}, rejected {len(report.rejected)}"
    )
    for rejected in report.rejected:
        print(f"rejected row {rejected.row}: {rejected.value!r}: {rejected.reason}")


@app.command("list")
def list_() -> None:
    """Print every known wallet: address, name, and whether it is tracked."""
    with connect() as connection:
        for wallet in wallets.load(connection).values():
            print(f"{wallet.wallet}\t{wallet.alias or ''}\t{'tracked' if wallet.is_tracked else 'not tracked'}")
