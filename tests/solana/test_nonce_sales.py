"""Every kind of sale under a durable nonce: it fits into a packet, runs within its limits, and lands once."""

from __future__ import annotations

import pytest
from solders.compute_budget import set_compute_unit_limit
from solders.hash import Hash

from copytrader_core.errors import DecodeError
from copytrader_core.solana.chain_rpc import Account
from copytrader_core.solana.compile import compile_v0, wire
from copytrader_core.solana.message import MAX_TRANSACTION_BYTES
from copytrader_core.solana.nonce import NONCE_BYTES, NonceState, decode_nonce, make_nonce, nonce_address
from copytrader_core.solana.templates import TradeTemplates
from copytrader_core.solana.trades import Nonce, sell
from simnet.bank import NotIncludedError
from simnet.bytecode import Snapshot
from tests.solana.test_trades_on_chain import CHARGES, KINDS, SOL, Chain, bought, launch


def opened(chain: Chain, number: int = 0) -> Nonce:
    """A nonce account of the owner's, as the system program makes it."""
    owner = chain.owner.pubkey()
    rent = chain.bank.svm.minimum_balance_for_rent_exemption(NONCE_BYTES)
    steps = [set_compute_unit_limit(1_000), *make_nonce(owner, number, rent)]
    assert chain.run(compile_v0(owner, steps, chain.bank.blockhash).message).ok
    return Nonce(nonce_address(owner, number), stored(chain, number).value)


def stored(chain: Chain, number: int = 0) -> NonceState:
    account = chain.bank.svm.get_account(nonce_address(chain.owner.pubkey(), number))
    assert account is not None
    return decode_nonce(Account(account.owner, account.lamports, bytes(account.data)))


def sale(chain: Chain, nonce: Nonce, *, least: int = 1) -> bytes:
    """Everything that an exit can carry: the account's closing, a tip, and for a pool the wrapping."""
    return sell(
        chain.owner.pubkey(),
        chain.coin,
        chain.held(),
        least,
        CHARGES,
        Hash.default(),
        close_account=True,
        nonce=nonce,
        recipients=chain.recipients,
    )


@pytest.mark.parametrize("venue", ["curve", "pool"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_every_sale_fits_and_lands_under_a_nonce_and_no_variant_does(snapshot: Snapshot, kind: str, venue: str) -> None:
    chain = launch(snapshot, kind)
    if venue == "pool":
        chain.graduate()
    bought(chain, SOL, new_wallet=True)
    nonce = opened(chain)
    assert stored(chain).authority == chain.owner.pubkey()
    message, variant = sale(chain, nonce), sale(chain, nonce, least=2)
    print(kind, venue, len(wire(message, bytes(64))))
    assert len(wire(message, bytes(64))) <= MAX_TRANSACTION_BYTES
    chain.done(message)
    assert chain.held() == 0
    assert stored(chain).value != nonce.blockhash
    for late in (message, variant):
        with pytest.raises(NotIncludedError):
            chain.run(late)
        chain.bank.end_block()


def test_a_sale_that_fails_uses_its_nonce_up_too(snapshot: Snapshot) -> None:
    chain = launch(snapshot, "normal")
    bought(chain, SOL, new_wallet=True)
    nonce = opened(chain)
    assert not chain.run(sale(chain, nonce, least=1_000 * SOL)).ok
    assert stored(chain).value != nonce.blockhash
    chain.done(sale(chain, Nonce(nonce.account, stored(chain).value)))


def test_templates_make_the_same_sales(snapshot: Snapshot) -> None:
    chain = launch(snapshot, "normal")
    bought(chain, SOL, new_wallet=True)
    nonce = opened(chain)
    templates = TradeTemplates(chain.owner.pubkey(), chain.recipients)
    for value in (nonce.blockhash, Hash.new_unique()):
        now = Nonce(nonce.account, value)
        made = templates.sell(chain.coin, chain.held(), 1, CHARGES, Hash.default(), close_account=True, nonce=now)
        assert made == sale(chain, now)


def test_what_is_no_nonce_account_is_refused(snapshot: Snapshot) -> None:
    chain = launch(snapshot, "normal")
    opened(chain)
    found = chain.bank.svm.get_account(nonce_address(chain.owner.pubkey(), 0))
    assert found is not None
    data = bytes(found.data)
    for owner, wrong in (
        (chain.mint, data),
        (found.owner, data[:-1]),
        (found.owner, bytes(4) + data[4:]),
        (found.owner, data[:4] + bytes(4) + data[8:]),
    ):
        with pytest.raises(DecodeError):
            decode_nonce(Account(owner, found.lamports, wrong))
