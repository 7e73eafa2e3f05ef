"""Program ids, well-known accounts and every derived address of pump.fun and PumpSwap, as pure cached functions.

What an account holds belongs in `accounts`; which instruction takes which account belongs in `instructions`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from solders.pubkey import Pubkey

from copytrader_core.solana.programs import ADDRESS_CACHE_SIZE, WSOL_MINT, associated_token_address

PUMP_PROGRAM: Final = Pubkey.from_string("6EF8rrecthR5Dkzon8Nwu78hRvfCKubJ14M5uBEwF6P")
AMM_PROGRAM: Final = Pubkey.from_string("pAMMBay6oceH9fJKBRHGP5D4bD4sWpmSwMn52FMfXEA")
FEE_PROGRAM: Final = Pubkey.from_string("pfeeUxB6jkeY1Hxd7CsFCAjcbHA9rWtchMGdZ6VojVZ")
MAYHEM_PROGRAM: Final = Pubkey.from_string("MAyhSmzXzV1pTf7LsNkrNwkWKTo4ougAJ1PPg47MD4e")

ZERO_KEY: Final = Pubkey.default()
"""All zero bytes: "nobody" as a creator or fee recipient, and SOL as a curve's quote mint."""

USDC_MINT: Final = Pubkey.from_string("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v")
USDT_MINT: Final = Pubkey.from_string("Es9vMFrzaCERmJfrF4H2FYD4KCoNkY11McCe8BenwNYB")
USD1_MINT: Final = Pubkey.from_string("USD1ttGY1N17NEEHLmELoaybftRBUSErhqYiQzvEmuB")
STABLE_MINTS: Final = frozenset({USDC_MINT, USDT_MINT, USD1_MINT})


def _keys(*texts: str) -> tuple[Pubkey, ...]:
    return tuple(Pubkey.from_string(text) for text in texts)


JITO_TIP_ACCOUNTS: Final = _keys(
    "96gYZGLnJYVFmbjzopPSU6QiEV5fGqZNyN9nmNhvrZU5",
    "HFqU5x63VTqvQss8hp11i4wVV8bD44PvwucfZ2bU7gRe",
    "Cw8CFyM9FkoMi7K7Crf6HNQqf4uEMzpKw6QNghXLvLkY",
    "ADaUMid9yfUytqMBgopwjb2DTLSokTSzL1zt6iGPaS49",
    "DfXygSm4jCyNCybVYYK6DwvWqjKee8pbDmJGcLWNDXjh",
    "ADuUkR4vqLUMWXxW9gh6D6L8pMSawimctcNZ5pGwDcEt",
    "DttWaMuVvTiduZRnguLF7jNxTgiMBZ1hyAumKUiL2KRL",
    "3AVi9Tg9Uo68tJfuvoKvqKNWKkC5wPdSSdeBnizKZ6jT",
)

FEE_RECIPIENTS: Final = _keys(
    "62qc2CNXwrYqQScmEdiZFFAnJR262PxWEuNQtxfafNgV",
    "7VtfL8fvgNfhz17qKRMjzQEXgbdpnHHHQRh54R9jP2RJ",
    "7hTckgnGnLQR6sdH7YkqFTAA7VwTfYFaZ6EhEsU3saCX",
    "9rPYyANsfQZw3DnDmKE3YCQF5E8oD89UXoHn9JFEhJUz",
    "AVmoTthdrX6tKt4nDjco2D775W2YK3sDhxPcMmzUAmTY",
    "CebN5WGQ4jvEPvsVU4EoHEpgzq1VV7AbicfhtW4xC9iM",
    "FWsW1xNtWscwNmKv6wVsU1iTzRN6wmmk3MjxRP5tT7hz",
    "G5UZAVbAf46s7cKWoyKu8kYTip9DGTpbLZ2qa9Aq69dP",
)
"""Protocol fee recipients of ordinary coins on the curve, as of 2026-10. The live list stands in the Global account."""

AMM_FEE_RECIPIENTS: Final = _keys(
    "62qc2CNXwrYqQScmEdiZFFAnJR262PxWEuNQtxfafNgV",
    "7VtfL8fvgNfhz17qKRMjzQEXgbdpnHHHQRh54R9jP2RJ",
    "7hTckgnGnLQR6sdH7YkqFTAA7VwTfYFaZ6EhEsU3saCX",
    "9rPYyANsfQZw3DnDmKE3YCQF5E8oD89UXoHn9JFEhJUz",
    "AVmoTthdrX6tKt4nDjco2D775W2YK3sDhxPcMmzUAmTY",
    "FWsW1xNtWscwNmKv6wVsU1iTzRN6wmmk3MjxRP5tT7hz",
    "G5UZAVbAf46s7cKWoyKu8kYTip9DGTpbLZ2qa9Aq69dP",
    "JCRGumoE9Qi5BBgULTgdgTLjSgkCMSbF62ZZfGs84JeU",
)
"""PumpSwap's list, as of 2026-10: all but one of the curve's. The live list stands in the GlobalConfig account."""

MAYHEM_FEE_RECIPIENTS: Final = _keys(
    "GesfTA3X2arioaHp8bbKdjG9vJtskViWACZoYvxp4twS",
    "4budycTjhs9fD6xw62VBducVTNgMgJJ5BgtKq7mAZwn6",
    "8SBKzEQU4nLSzcwF4a74F2iaUDQyTfjGndn6qUWBnrpR",
    "4UQeTP1T39KZ9Sfxzo3WR5skgsaP6NZa87BAkuazLEKH",
    "8sNeir4QsLsJdYpc9RZacohhK1Y5FLU3nC5LXgYB4aa6",
    "Fh9HmeLNUMVCvejxCtCL2DbYaRyBFVJ5xrWkLnMH6fdk",
    "463MEnMeGyJekNZFQSTUABBEbLnvMTALbT6ZmsxAbAdq",
    "6AUH3WEHucYZyC61hqpqYUWVto5qA5hjHuNQ32GNnNxA",
)
"""Protocol fee recipients that a mayhem coin's trade must name instead ("reserved"), as of 2026-10."""

BUYBACK_FEE_RECIPIENTS: Final = _keys(
    "5YxQFdt3Tr9zJLvkFccqXVUwhdTWJQc1fFg2YPbxvxeD",
    "9M4giFFMxmFGXtc3feFzRai56WbBqehoSeRE5GK7gf7",
    "GXPFM2caqTtQYC2cJ5yJRi9VDkpsYZXzYdwYpGnLmtDL",
    "3BpXnfJaUTiwXnJNe7Ej1rcbzqTTQUvLShZaWazebsVR",
    "5cjcW9wExnJJiqgLjq7DEG75Pm6JBgE1hNv4B2vHXUW6",
    "EHAAiTxcdDwQ3U4bU6YcMsQGaekdzLS3B5SmYo46kJtL",
    "5eHhjP8JaYkz83CWwvGU2uMUXefd3AazWGx4gpcuEEYD",
    "A7hAgCzFw14fejgCp387JUJRMNyz4j89JKnhtKU8piqW",
)
"""Wallets that receive the buyback half of the protocol fee, as of 2026-10."""

CANONICAL_POOL_INDEX: Final = 0


def _derive(program: Pubkey, *seeds: bytes) -> Pubkey:
    return Pubkey.find_program_address(list(seeds), program)[0]


PUMP_GLOBAL: Final = _derive(PUMP_PROGRAM, b"global")
PUMP_EVENT_AUTHORITY: Final = _derive(PUMP_PROGRAM, b"__event_authority")
PUMP_MINT_AUTHORITY: Final = _derive(PUMP_PROGRAM, b"mint-authority")
PUMP_GLOBAL_VOLUME_ACCUMULATOR: Final = _derive(PUMP_PROGRAM, b"global_volume_accumulator")
PUMP_FEE_CONFIG: Final = _derive(FEE_PROGRAM, b"fee_config", bytes(PUMP_PROGRAM))
QUOTE_CONTROL: Final = _derive(PUMP_PROGRAM, b"quote-control")

AMM_GLOBAL_CONFIG: Final = _derive(AMM_PROGRAM, b"global_config")
AMM_EVENT_AUTHORITY: Final = _derive(AMM_PROGRAM, b"__event_authority")
AMM_GLOBAL_VOLUME_ACCUMULATOR: Final = _derive(AMM_PROGRAM, b"global_volume_accumulator")
AMM_FEE_CONFIG: Final = _derive(FEE_PROGRAM, b"fee_config", bytes(AMM_PROGRAM))

MAYHEM_GLOBAL_PARAMS: Final = _derive(MAYHEM_PROGRAM, b"global-params")
MAYHEM_SOL_VAULT: Final = _derive(MAYHEM_PROGRAM, b"sol-vault")
"""The trader of every mayhem-agent trade; it pays no fee and does not sign."""

NEVER_TRADERS: Final = frozenset(
    map(
        str,
        (
            *(PUMP_PROGRAM, AMM_PROGRAM, FEE_PROGRAM, MAYHEM_PROGRAM, ZERO_KEY, WSOL_MINT, *STABLE_MINTS),
            *(*JITO_TIP_ACCOUNTS, *FEE_RECIPIENTS, *AMM_FEE_RECIPIENTS, *MAYHEM_FEE_RECIPIENTS),
            *(*BUYBACK_FEE_RECIPIENTS, PUMP_GLOBAL, PUMP_EVENT_AUTHORITY, PUMP_MINT_AUTHORITY),
            *(PUMP_GLOBAL_VOLUME_ACCUMULATOR, PUMP_FEE_CONFIG, QUOTE_CONTROL, AMM_GLOBAL_CONFIG, AMM_EVENT_AUTHORITY),
            *(AMM_GLOBAL_VOLUME_ACCUMULATOR, AMM_FEE_CONFIG, MAYHEM_GLOBAL_PARAMS, MAYHEM_SOL_VAULT),
        ),
    )
)
"""Base58 addresses that may stand in an event without being anybody's wallet: programs, the protocol's accounts, fee
and tip accounts, the mayhem agent. A coin's own accounts are not listed: they trade one coin each."""


@lru_cache(maxsize=ADDRESS_CACHE_SIZE)
def bonding_curve(mint: Pubkey) -> Pubkey:
    """The curve account of a coin."""
    return _derive(PUMP_PROGRAM, b"bonding-curve", bytes(mint))


@lru_cache(maxsize=ADDRESS_CACHE_SIZE)
def bonding_curve_v2(mint: Pubkey) -> Pubkey:
    """The second curve account that the oldest trade instructions must name since 2026-02."""
    return _derive(PUMP_PROGRAM, b"bonding-curve-v2", bytes(mint))


@lru_cache(maxsize=ADDRESS_CACHE_SIZE)
def creator_vault(creator: Pubkey) -> Pubkey:
    """Where a creator's fees of curve trades collect."""
    return _derive(PUMP_PROGRAM, b"creator-vault", bytes(creator))


@lru_cache(maxsize=ADDRESS_CACHE_SIZE)
def user_volume_accumulator(user: Pubkey) -> Pubkey:
    """A trader's volume account with the curve program."""
    return _derive(PUMP_PROGRAM, b"user_volume_accumulator", bytes(user))


@lru_cache(maxsize=ADDRESS_CACHE_SIZE)
def amm_user_volume_accumulator(user: Pubkey) -> Pubkey:
    """A trader's volume account with PumpSwap."""
    return _derive(AMM_PROGRAM, b"user_volume_accumulator", bytes(user))


@lru_cache(maxsize=ADDRESS_CACHE_SIZE)
def holder_rewards(mint: Pubkey) -> Pubkey:
    """The vault that collects a holder-reward coin's fees; it stands in as the coin's creator."""
    return _derive(PUMP_PROGRAM, b"holder-rewards", bytes(mint))


@lru_cache(maxsize=ADDRESS_CACHE_SIZE)
def sharing_config(mint: Pubkey) -> Pubkey:
    """The fee program's list of who shares a coin's creator fee."""
    return _derive(FEE_PROGRAM, b"sharing-config", bytes(mint))


@lru_cache(maxsize=ADDRESS_CACHE_SIZE)
def pool_authority(mint: Pubkey) -> Pubkey:
    """The creator of a coin's canonical pool: only the curve program's migration can sign for it."""
    return _derive(PUMP_PROGRAM, b"pool-authority", bytes(mint))


@lru_cache(maxsize=ADDRESS_CACHE_SIZE)
def pool(index: int, creator: Pubkey, base_mint: Pubkey, quote_mint: Pubkey) -> Pubkey:
    """A PumpSwap pool's address. `index` is a u16."""
    seeds = (index.to_bytes(2, "little"), bytes(creator), bytes(base_mint), bytes(quote_mint))
    return _derive(AMM_PROGRAM, b"pool", *seeds)


def canonical_pool(mint: Pubkey, quote_mint: Pubkey = WSOL_MINT) -> Pubkey:
    """The one pool that a coin migrates to; known before the coin graduates."""
    return pool(CANONICAL_POOL_INDEX, pool_authority(mint), mint, quote_mint)


def is_canonical_pool_creator(creator: Pubkey, base_mint: Pubkey) -> bool:
    """Whether a pool created by `creator` came from the curve, and so pays the market-cap fee tiers."""
    return creator == pool_authority(base_mint)


@lru_cache(maxsize=ADDRESS_CACHE_SIZE)
def pool_v2(base_mint: Pubkey) -> Pubkey:
    """The second pool account that v1 PumpSwap trades of coins with a creator must name."""
    return _derive(AMM_PROGRAM, b"pool-v2", bytes(base_mint))


@lru_cache(maxsize=ADDRESS_CACHE_SIZE)
def lp_mint(pool_address: Pubkey) -> Pubkey:
    """The mint of a pool's liquidity token (always Token-2022)."""
    return _derive(AMM_PROGRAM, b"pool_lp_mint", bytes(pool_address))


@lru_cache(maxsize=ADDRESS_CACHE_SIZE)
def amm_creator_vault_authority(coin_creator: Pubkey) -> Pubkey:
    """Owner of the token accounts where a creator's fees of PumpSwap trades collect."""
    return _derive(AMM_PROGRAM, b"creator_vault", bytes(coin_creator))


def amm_creator_vault(coin_creator: Pubkey, quote_mint: Pubkey, quote_token_program: Pubkey) -> Pubkey:
    """The token account where a creator's PumpSwap fees in `quote_mint` collect."""
    return associated_token_address(amm_creator_vault_authority(coin_creator), quote_mint, quote_token_program)


@lru_cache(maxsize=ADDRESS_CACHE_SIZE)
def boost_vault_authority(pool_address: Pubkey) -> Pubkey:
    """Owner of the token account that holds a pool's boost."""
    return _derive(AMM_PROGRAM, b"boost_vault", bytes(pool_address))


@lru_cache(maxsize=ADDRESS_CACHE_SIZE)
def mayhem_state(mint: Pubkey) -> Pubkey:
    """The mayhem program's state of a coin; it need not exist for an ordinary coin."""
    return _derive(MAYHEM_PROGRAM, b"mayhem-state", bytes(mint))
