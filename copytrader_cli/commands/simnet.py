"""`copytrader simnet play | record | live`: the local chain."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Run the local chain.")


@app.callback()
def simnet() -> None:
    """The local chain: record a planted market on it, play the recording as a Yellowstone endpoint."""


@app.command()
def play(
    tape: Annotated[Path, typer.Argument(help="the recording")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="port on 127.0.0.1; 0 takes a free one")] = 0,
    speed: Annotated[float, typer.Option(min=0, help="chain seconds per second; 0 = as fast as clients read")] = 1.0,
    max_gap_seconds: Annotated[float, typer.Option(help="idle chain time is shortened to this")] = math.inf,
    from_slot: Annotated[int, typer.Option(min=0, help="first slot to play; earlier ones can be replayed")] = 0,
    until_slot: Annotated[int | None, typer.Option(help="last slot to play")] = None,
    wait_for_clients: Annotated[int, typer.Option(min=0, help="start when so many have subscribed")] = 1,
    replay_slots: Annotated[int | None, typer.Option(min=0, help="replay window, 0 = none; default all")] = None,
    confirmed_after_ms: Annotated[float, typer.Option(min=0, help="chain time from a block to confirmed")] = 100.0,
    x_token_file: Annotated[Path | None, typer.Option(help="file with the token that clients must send")] = None,
    rpc_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="also serve JSON-RPC on 127.0.0.1; 0 takes a free port")
    ] = None,
    exit_at_end: Annotated[bool, typer.Option("--exit-at-end", help="end with the tape, not with a signal")] = False,
) -> None:
    """Play a tape as a Yellowstone endpoint in the foreground; the first line printed is its address.

    With --rpc-port the second line is "rpc ADDRESS". JSON-RPC shows what has been played so far; at --speed 0, where
    nothing falls due, it shows the whole tape.
    """
    from simnet.play import play as run
    from simnet.yellowstone import serve

    serving = serve(
        tape,
        port=port,
        token=x_token_file.read_text().strip() if x_token_file else None,
        speed=speed or math.inf,
        max_gap_seconds=max_gap_seconds,
        from_slot=from_slot,
        until_slot=until_slot,
        wait_for_clients=wait_for_clients,
        replay_slots=replay_slots,
        confirmed_after_ms=confirmed_after_ms,
        exit_at_end=exit_at_end,
    )
    asyncio.run(run(serving, exit_at_end=exit_at_end, rpc_port=rpc_port, say=lambda line: print(line, flush=True)))


@app.command()
def record(
    out: Annotated[Path, typer.Argument(help="the tape to write, NAME.tape.zst; the truth lands beside it")],
    seed: Annotated[int, typer.Option(help="same seed, same market")] = 7,
    days: Annotated[int, typer.Option(help="market days; of several the last is short, for live trading")] = 4,
    size: Annotated[float, typer.Option(help="trades a day, 1 = the committed tape's")] = 1.0,
) -> None:
    """Record a planted market on the deployed programs: a tape, and the truth about it."""
    from simnet.record import record as run

    done = run(out, seed=seed, days=days, size=size, progress=lambda line: print(line, flush=True))
    truth = done.truth
    print(f"{done.tape}  {truth.n_blocks} blocks, {truth.n_transactions} transactions ({truth.n_failed} failed)")
    print(f"{done.truth_path}  {len(truth.events)} events; {done.n_bytes:,} bytes together")


@app.command()
def live(
    seed: Annotated[int, typer.Option(help="same seed, same market")] = 7,
    slot_ms: Annotated[float, typer.Option(help="length of a slot in milliseconds")] = 400.0,
    minutes: Annotated[float, typer.Option(help="how long the market trades, in chain time")] = 60.0,
    faults: Annotated[str, typer.Option(help="what goes wrong, as drop=0.1,late=0.2,late_slots=12")] = "",
    replay_slots: Annotated[int | None, typer.Option(min=0, help="replay window of the stream; default all")] = None,
    port_geyser: Annotated[int, typer.Option(min=0, max=65535, help="Yellowstone port; 0 takes a free one")] = 0,
    port_rpc: Annotated[int, typer.Option(min=0, max=65535, help="JSON-RPC port")] = 0,
    port_block_engine: Annotated[int, typer.Option(min=0, max=65535, help="block engine port")] = 0,
    port_tpu: Annotated[int, typer.Option(min=0, max=65535, help="first of the validators' QUIC ports")] = 0,
) -> None:
    """Run a live chain with a planted market in the foreground; the one line printed holds its addresses as JSON.

    POST {"set": {"drop": 0.5}, "once": ["rollback"]} to the address under "faults" changes what goes wrong.
    """
    from simnet.faults import parse_faults
    from simnet.live import LiveOptions, run_live

    options = LiveOptions(
        seed=seed,
        slot_ms=slot_ms,
        minutes=minutes,
        replay_slots=replay_slots,
        geyser_port=port_geyser,
        rpc_port=port_rpc,
        block_engine_port=port_block_engine,
        tpu_port=port_tpu,
        faults=parse_faults(faults, seed),
    )
    asyncio.run(run_live(options, say=lambda line: print(line, flush=True)))
