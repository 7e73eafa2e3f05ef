"""How long a copied buy takes from the leader's accounts to signed bytes: patched or compiled."""

from __future__ import annotations

import itertools

from solders.hash import Hash
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from benchmarks.measure import Measured, race
from copytrader_core.pump import addresses as a
from copytrader_core.solana import trades
from copytrader_core.solana.coins import Coin, VenueAccounts
from copytrader_core.solana.compile import wire
from copytrader_core.solana.keys import Signer
from copytrader_core.solana.templates import TradeTemplates
from copytrader_core.solana.trades import Charges

_TRADES = 2_000
_SEED = bytes(range(32))


def run() -> list[Measured]:
    """Compile and sign; the same by template for new coins (accounts given), for a known coin; and signing alone."""
    signer, keys = Signer(_SEED), Keypair.from_seed(_SEED)
    templates, blockhash = TradeTemplates(signer.pubkey), Hash(bytes([5]) * 32)
    charges = Charges(1_000_000, 1_000_000, a.JITO_TIP_ACCOUNTS[0])
    number = itertools.count(1)

    def key() -> Pubkey:
        return Pubkey(next(number).to_bytes(32, "big"))

    def coin() -> Coin:
        return Coin(key(), accounts=VenueAccounts(key(), key(), key()))

    def compiled() -> int:
        for one in [Coin(key()) for _ in range(_TRADES)]:
            message = trades.buy(signer.pubkey, one, 10**9, 1, charges, blockhash, new_wallet=False)
            wire(message, bytes(keys.sign_message(message)))
        return _TRADES

    def patched(coins: list[Coin]) -> int:
        for one in coins:
            message = templates.buy(one, 10**9, 1, charges, blockhash, new_wallet=False)
            wire(message, signer.sign(message))
        return len(coins)

    message = templates.buy(Coin(key()), 10**9, 1, charges, blockhash, new_wallet=False)
    known = coin()

    def signed() -> int:
        for _ in range(_TRADES):
            signer.sign(message)
        return _TRADES

    contenders = {
        "new coin, compiled, all derived": compiled,
        "new coin, template, accounts copied": lambda: patched([coin() for _ in range(_TRADES)]),
        "known coin, template": lambda: patched([known] * _TRADES),
        "signature alone": signed,
    }
    return race(contenders, "trades")
