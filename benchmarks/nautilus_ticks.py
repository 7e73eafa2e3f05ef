"""Run by `benchmarks.backtest` with another Python that has nautilus_trader: N trade ticks through its BacktestEngine.

A strategy that looks at every tick and trades nothing, which is in its favour. It simulates a whole venue, with an
order book and accounts, which ours does not: the figure says what a general engine takes, not that it is worse.
"""

from __future__ import annotations

import sys
import time


def main(n: int) -> None:
    """Prints events and seconds."""
    from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig  # type: ignore[import-not-found]
    from nautilus_trader.config import LoggingConfig  # type: ignore[import-not-found]
    from nautilus_trader.model.currencies import USDT  # type: ignore[import-not-found]
    from nautilus_trader.model.data import TradeTick  # type: ignore[import-not-found]
    from nautilus_trader.model.enums import (  # type: ignore[import-not-found]
        AccountType,
        AggressorSide,
        OmsType,
    )
    from nautilus_trader.model.identifiers import TradeId, Venue  # type: ignore[import-not-found]
    from nautilus_trader.model.objects import Money  # type: ignore[import-not-found]
    from nautilus_trader.test_kit.providers import TestInstrumentProvider  # type: ignore[import-not-found]
    from nautilus_trader.trading.strategy import Strategy  # type: ignore[import-not-found]

    instrument = TestInstrumentProvider.ethusdt_binance()

    class Every(Strategy):  # type: ignore[misc]
        seen = 0

        def on_start(self) -> None:
            self.subscribe_trade_ticks(instrument.id)

        def on_trade_tick(self, tick: object) -> None:
            self.seen += 1

    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(log_level="ERROR")))
    engine.add_venue(
        venue=Venue("BINANCE"),
        oms_type=OmsType.NETTING,
        account_type=AccountType.MARGIN,
        base_currency=None,
        starting_balances=[Money(1_000_000_000, USDT)],
        trade_execution=True,
    )
    engine.add_instrument(instrument)
    price = [instrument.make_price(1_500 + (i % 700) / 100) for i in range(1_000)]
    size = instrument.make_qty(0.5)
    ticks = [
        TradeTick(
            instrument.id,
            price[i % 1_000],
            size,
            AggressorSide.BUYER,
            TradeId(str(i)),
            (i + 1) * 10**6,
            (i + 1) * 10**6,
        )
        for i in range(n)
    ]
    engine.add_data(ticks)
    engine.add_strategy(Every())
    began = time.perf_counter()
    engine.run()
    print(n, time.perf_counter() - began)


if __name__ == "__main__":
    main(int(sys.argv[1]))
