"""Reads coins and markets from accounts, where the stream has not shown them: after a start, or while an exit waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from solders.pubkey import Pubkey

from copytrader_core.errors import DecodeError
from copytrader_core.policy.market import MarketState
from copytrader_core.pump import addresses as a
from copytrader_core.pump.accounts import BondingCurve, Pool, decode_bonding_curve, decode_global, decode_pool
from copytrader_core.pump.amm import market_cap
from copytrader_core.pump.fees import CURVE_FEES, POOL_FEES, Fees, curve_fees, pool_fees, quote_kind
from copytrader_core.solana.chain_rpc import Account, ChainRpc
from copytrader_core.solana.coins import Coin, MintAccount, Refusal, coin_from_accounts, mint_policy
from copytrader_core.solana.programs import TOKEN_PROGRAM, WSOL_MINT, associated_token_address

_AMOUNT: Final = slice(64, 72)


@dataclass(frozen=True, slots=True)
class CoinNews:
    """A coin as its accounts show it: where it trades now, on which reserves, and why not to trade it, if so."""

    coin: Coin
    market: MarketState
    refusal: Refusal | None


async def read_coin(node: ChainRpc, mint: str) -> CoinNews:
    """The coin's accounts at processed, its market of the slot that the node names. Raises RpcError or DecodeError."""
    key = Pubkey.from_string(mint)
    curve_address, pool_address = a.bonding_curve(key), a.canonical_pool(key)
    slot, (owner, found, pooled) = await node.accounts_at([key, curve_address, pool_address], "processed")
    if owner is None or found is None:
        raise DecodeError(f"{mint} has no curve account: it is no coin of pump.fun")
    curve = decode_bonding_curve(found.data)
    pool = None if pooled is None else decode_pool(pooled.data)
    coin = coin_from_accounts(key, owner.owner, curve, pool)
    refusal = mint_policy(
        key,
        MintAccount(owner.owner, owner.data),
        curve_address=curve_address,
        curve_owner=found.owner,
        curve=curve,
        pool_address=None if pool is None else pool_address,
        pool=pool,
    )
    if pool is None:
        return CoinNews(coin, _on_curve(curve, slot), refusal)
    slot, vaults = await node.accounts_at(
        [
            associated_token_address(pool_address, key, owner.owner),
            associated_token_address(pool_address, WSOL_MINT, TOKEN_PROGRAM),
        ],
        "processed",
    )
    return CoinNews(coin, _in_pool(pool, str(pool_address), _amount(vaults[0]), _amount(vaults[1]), slot), refusal)


async def read_withdraw_authority(node: ChainRpc) -> Pubkey:
    """Whom a migration names, from the curve program's settings. Raises RpcError or DecodeError."""
    (account,) = await node.accounts([a.PUMP_GLOBAL])
    if account is None:
        raise DecodeError(f"{node.label} has no settings of the curve program: is it a node of the right cluster?")
    return decode_global(account.data).withdraw_authority


def _on_curve(curve: BondingCurve, slot: int) -> MarketState:
    fees = curve_fees(
        CURVE_FEES, quote_kind(curve.quote_mint), 0, has_creator=curve.has_creator, creator_bps=curve.creator_fee_bps
    )
    return _market(
        "curve",
        None,
        slot,
        (curve.virtual_token_reserves, curve.virtual_quote_reserves),
        (curve.real_token_reserves, curve.real_quote_reserves),
        fees,
        complete=curve.complete,
    )


def _in_pool(pool: Pool, address: str, base: int, quote: int, slot: int) -> MarketState:
    state = pool.state(base, quote)
    fees = pool_fees(
        POOL_FEES,
        quote_kind(pool.quote_mint),
        market_cap(state),
        is_canonical=pool.is_canonical,
        has_creator=pool.has_creator,
        creator_bps=pool.creator_fee_bps,
    )
    return _market("amm", address, slot, (base, state.effective_quote), (base, quote), fees, complete=False)


def _market(
    venue: str,
    pool: str | None,
    slot: int,
    effective: tuple[int, int],
    real: tuple[int, int],
    fees: Fees,
    complete: bool,
) -> MarketState:
    return MarketState(
        venue="amm" if venue == "amm" else "curve",
        pool=pool,
        slot=slot,
        tx_index=-1,
        base_raw=effective[0],
        quote_raw=effective[1],
        real_base_raw=real[0],
        real_quote_raw=real[1],
        lp_fee_bps=fees.lp_bps,
        protocol_fee_bps=fees.protocol_bps,
        creator_fee_bps=fees.creator_bps,
        complete=complete,
    )


def _amount(account: Account | None) -> int:
    if account is None or len(account.data) < _AMOUNT.stop:
        raise DecodeError("a pool without its vaults: ask another node")
    return int.from_bytes(account.data[_AMOUNT], "little")
