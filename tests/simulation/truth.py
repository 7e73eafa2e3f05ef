"""What must hold when the story is over: the journal against the chain, to the lamport.

A `Book` is what a journal adds up to; how it is read from its files is the subject's.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from solders.pubkey import Pubkey

from copytrader_core.solana.base58 import signature_text
from executor.wal import Document, WalReader, segments_of
from tests.simulation.bank import Receipt, Wire
from tests.simulation.model_chain import Chain


@dataclass(frozen=True, slots=True)
class Signed:
    """A transaction that the journal knows, by its signature. `leader_sig` is empty for a sale."""

    intent_id: str
    side: Literal["BUY", "SELL"]
    mint: str
    leader_sig: str


@dataclass(frozen=True, slots=True)
class Book:
    """What a journal says in the end. Amounts are raw units and lamports.

    `cash_lamports` is the sum of its fills (quote, fee, tip) and of the costs of what failed; `rent_lamports` what
    accounts have cost, less what came back, None where it is not journalled; `deposited_lamports` is whatever else it
    has booked, which has to be what the wallet began with. `shared` are signatures that
    more than one intent claims. `held` are coins that it knows of without
    trading them (adopted, quarantined). `unresolved` are intents that have not come to an end.
    """

    signed: dict[str, Signed] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    unresolved: tuple[str, ...] = ()
    cash_lamports: int = 0
    rent_lamports: int | None = None
    deposited_lamports: int | None = None
    shared: tuple[str, ...] = ()


def lines_of(folder: Path) -> list[Document]:
    """Every whole line of a journal, whoever has it open."""
    return WalReader(folder, 0).read(2**62) if segments_of(folder) else []


def violations(chain: Chain, wallet: Pubkey, start_lamports: int, book: Book) -> list[str]:
    """Every way in which the book and the chain, as it is now, contradict each other."""
    ours = [receipt for _, receipt in chain.landed.values() if isinstance(receipt.source, Wire)]
    return [
        *_unknown(ours, book),
        *_bought_twice(ours, book),
        *[f"{text} is the signature of two intents" for text in book.shared],
        *_coins(chain, book),
        *_forgotten(chain, book),
        *[f"intent {intent} has not come to an end" for intent in book.unresolved],
        *_lamports(chain, ours, start_lamports, book),
    ]


def _unknown(ours: list[Receipt], book: Book) -> list[str]:
    texts = [signature_text(receipt.signature) for receipt in ours]
    return [f"{text} has landed and is not in the journal" for text in texts if text not in book.signed]


def _bought_twice(ours: list[Receipt], book: Book) -> list[str]:
    bought: Counter[tuple[str, str]] = Counter()
    found = []
    for receipt in ours:
        signed = book.signed.get(signature_text(receipt.signature))
        if receipt.effect is None or signed is None:
            continue
        if (signed.side, signed.mint) != (receipt.effect.side, str(receipt.effect.mint)):
            found.append(f"{signature_text(receipt.signature)} is a {receipt.effect.side}, journalled as {signed}")
        if receipt.effect.side == "BUY":
            bought[signed.leader_sig, signed.mint] += 1
    return found + [f"{count} buys for one leader buy: {key}" for key, count in bought.items() if count > 1]


def _coins(chain: Chain, book: Book) -> list[str]:
    on_chain = {str(mint): amount for mint, amount in chain.tip.state.coins.items() if amount}
    in_book = Counter(book.positions)
    in_book.update(book.held)
    return [
        f"coin {mint}: {on_chain.get(mint, 0)} on chain, {in_book[mint]} in the journal"
        for mint in sorted({*on_chain, *in_book})
        if on_chain.get(mint, 0) != in_book[mint]
    ]


def _forgotten(chain: Chain, book: Book) -> list[str]:
    """Every exit has been due for minutes, and nothing went wrong in them."""
    curves = chain.tip.state.curves
    return [
        f"coin {mint} could be sold and is still held"
        for mint in book.positions
        if curves[Pubkey.from_string(mint)].real_base
    ]


def _lamports(chain: Chain, ours: list[Receipt], start_lamports: int, book: Book) -> list[str]:
    """The chain's own sum first: a wrong model would prove nothing."""
    rent = sum(receipt.rent for receipt in ours)
    cash = chain.tip.state.lamports - start_lamports + rent
    swaps = sum(_cash_of(receipt) for receipt in ours)
    assert cash == swaps, f"the model chain lost {cash - swaps} lamports"
    found = []
    if book.cash_lamports != swaps:
        found.append(f"cash: {swaps} on chain, {book.cash_lamports} in the journal")
    if book.rent_lamports is not None and book.rent_lamports != rent:
        found.append(f"rent: {rent} on chain, {book.rent_lamports} in the journal")
    if book.deposited_lamports not in (None, start_lamports):
        found.append(f"deposits: {start_lamports} on chain, {book.deposited_lamports} in the journal")
    return found


def _cash_of(receipt: Receipt) -> int:
    effect = receipt.effect
    quote = 0 if effect is None else effect.quote_lamports * (1 if effect.side == "SELL" else -1)
    return quote - receipt.fee - receipt.tip
