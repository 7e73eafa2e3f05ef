"""Run by `benchmarks.backtest` with another Python that has freqtrade: N one-minute candles through its backtest.

Twenty pairs with N / 20 candles each, a strategy without an indicator that buys every 300th candle of a pair and leaves
after five: about as many orders a candle as our walk has a trade. Its data is in memory, only the backtest itself is
timed, by its CPU time, which is in its favour on a busy machine. It judges finished candles by their four prices, ours
executes every trade on exact reserves: the figure says how fast a candle engine goes through its rows, not that they
are the same work.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_PAIRS = 20
_STRATEGY = """
from freqtrade.strategy import IStrategy


class NowAndThen(IStrategy):
    timeframe = "1m"
    minimal_roi = {"5": -1}
    stoploss = -0.5
    process_only_new_candles = True

    def populate_indicators(self, dataframe, metadata):
        return dataframe

    def populate_entry_trend(self, dataframe, metadata):
        dataframe.loc[dataframe.index % 300 == 0, "enter_long"] = 1
        return dataframe

    def populate_exit_trend(self, dataframe, metadata):
        return dataframe
"""


def main(n: int) -> None:
    """Prints trades, candles and CPU seconds."""
    import numpy as np
    import pandas as pd  # type: ignore[import-untyped, unused-ignore]
    from freqtrade.data.history import get_timerange  # type: ignore[import-not-found]
    from freqtrade.optimize.backtesting import Backtesting  # type: ignore[import-not-found]
    from freqtrade.resolvers import ExchangeResolver  # type: ignore[import-not-found]

    logging.disable(logging.WARNING)
    pairs = [f"COIN{i}/USDT" for i in range(_PAIRS)]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "now_and_then.py").write_text(_STRATEGY, encoding="utf-8")
        config = _config(pairs, folder)
        exchange = ExchangeResolver.load_exchange(config, validate=False)
        exchange._markets = {pair: _market(pair) for pair in pairs}
        engine = Backtesting(config, exchange)
        engine._set_strategy(engine.strategylist[0])
        length = n // _PAIRS
        dates = pd.date_range("2026-01-01", periods=length, freq="1min", tz="UTC")
        rng = np.random.default_rng(7)
        candles = {pair: _candles(pd, rng.normal(0, 0.001, length), dates) for pair in pairs}
        first, last = get_timerange(candles)
        began = time.process_time()
        found = engine.backtest(engine.strategy.advise_all_indicators(candles), first, last)
        seconds = time.process_time() - began
    if not len(found["results"]):
        raise SystemExit("freqtrade has made no trade: the strategy does not fit this version")
    print(len(found["results"]), "trades", length * _PAIRS, seconds)


def _candles(pd: Any, returns: Any, dates: Any) -> Any:
    close = 1.5 * (1 + returns).cumprod()
    names = {"date": dates, "open": close, "high": close * 1.001, "low": close * 0.999, "close": close, "volume": 1e6}
    return pd.DataFrame(names)


def _market(pair: str) -> dict[str, Any]:
    base, quote = pair.split("/")
    return {
        "id": base + quote, "symbol": pair, "base": base, "quote": quote, "active": True, "spot": True, "type": "spot",
        "taker": 0.001, "maker": 0.001, "precision": {"price": 1e-8, "amount": 1e-8, "cost": 1e-8},
        "contractSize": None,
        "limits": {"amount": {"min": 0.0001, "max": None}, "cost": {"min": 1.0, "max": None},
                   "price": {"min": None, "max": None}},
        "info": {},
    }  # fmt: skip


def _config(pairs: list[str], folder: str) -> dict[str, Any]:
    from freqtrade.enums import CandleType, RunMode  # type: ignore[import-not-found]

    price = {"price_side": "same", "use_order_book": False, "order_book_top": 1}
    return {
        "strategy": "NowAndThen", "strategy_path": folder, "timeframe": "1m", "runmode": RunMode.BACKTEST,
        "dry_run": True,
        "exchange": {"name": "binance", "pair_whitelist": pairs, "pair_blacklist": []}, "datadir": Path(folder),
        "user_data_dir": Path(folder), "pairlists": [{"method": "StaticPairList"}], "stake_currency": "USDT",
        "stake_amount": 100.0, "dry_run_wallet": 1_000_000.0, "max_open_trades": _PAIRS, "tradable_balance_ratio": 0.99,
        "entry_pricing": price, "exit_pricing": price, "unfilledtimeout": {"entry": 10, "exit": 10}, "fee": 0.001,
        "candle_type_def": CandleType.SPOT, "trading_mode": "spot", "margin_mode": "", "export": "none",
        "dataformat_ohlcv": "feather", "dataformat_trades": "feather", "startup_candle_count": 0,
    }  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]))
