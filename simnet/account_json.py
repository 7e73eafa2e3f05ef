"""An account as a node's JSON-RPC writes it: base64, base58, or token accounts and mints in words (`jsonParsed`)."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from solders.account import Account
from solders.pubkey import Pubkey

from copytrader_core.solana.programs import TOKEN_2022_PROGRAM, TOKEN_PROGRAM
from simnet.json_blocks import encode_base58
from simnet.rpc_params import invalid

__all__ = ["TOKEN_PROGRAM_NAMES", "account_json", "is_token_account", "ui_amount"]

TOKEN_PROGRAM_NAMES = {TOKEN_PROGRAM: "spl-token", TOKEN_2022_PROGRAM: "spl-token-2022"}
_STATES = ("uninitialized", "initialized", "frozen")
# Where Token-2022 says what an extended account is: 1 a mint, 2 a token account.
_KIND_AT = 165
_MAX_U64 = 2**64 - 1


def account_json(account: Account, options: Mapping[str, Any], decimals: int | None = None) -> dict[str, Any]:
    """The account in the encoding asked for. `decimals`: of a token account's mint. Raises RefusalError."""
    data = bytes(account.data)
    return {
        "lamports": account.lamports,
        "owner": str(account.owner),
        "data": _data(account, data, options, decimals),
        "executable": account.executable,
        "rentEpoch": _MAX_U64,
        "space": len(data),
    }


def is_token_account(account: Account) -> bool:
    """Whether it holds tokens of some mint, and is not a mint itself."""
    data = bytes(account.data)
    return account.owner in TOKEN_PROGRAM_NAMES and (
        len(data) == _KIND_AT or (len(data) > _KIND_AT and data[_KIND_AT] == 2)
    )


def ui_amount(amount: int, decimals: int) -> dict[str, Any]:
    """An amount of tokens in every form that a node gives."""
    whole, part = divmod(amount, 10**decimals)
    text = f"{whole}.{part:0{decimals}d}".rstrip("0").rstrip(".") if decimals else str(whole)
    return {"amount": str(amount), "decimals": decimals, "uiAmount": float(text), "uiAmountString": text}


def _data(account: Account, data: bytes, options: Mapping[str, Any], decimals: int | None) -> Any:
    encoding = options.get("encoding", "base58")
    if encoding == "jsonParsed" and (parsed := _parsed(account, data, decimals)):
        return {"program": TOKEN_PROGRAM_NAMES[account.owner], "parsed": parsed, "space": len(data)}
    if cut := options.get("dataSlice"):
        data = data[cut["offset"] : cut["offset"] + cut["length"]]
    if encoding in ("base64", "jsonParsed"):
        return [base64.b64encode(data).decode(), "base64"]
    if encoding != "base58":
        raise invalid(f"encoding {encoding!r}: this chain writes base58, base64 and jsonParsed")
    if len(data) > 128:
        raise invalid("Encoded binary (base 58) data should be less than 128 bytes, please use Base64 encoding.")
    return [encode_base58(data), "base58"]


def _parsed(account: Account, data: bytes, decimals: int | None) -> dict[str, Any] | None:
    if is_token_account(account) and decimals is not None:
        info = {
            "mint": str(Pubkey.from_bytes(data[:32])),
            "owner": str(Pubkey.from_bytes(data[32:64])),
            "tokenAmount": ui_amount(int.from_bytes(data[64:72], "little"), decimals),
            "state": _STATES[data[108]],
            "isNative": data[109] == 1,
        }
        if data[109] == 1:
            info["rentExemptReserve"] = ui_amount(int.from_bytes(data[113:121], "little"), 9)
        return {"type": "account", "info": info}
    is_mint = len(data) == 82 or (len(data) > _KIND_AT and data[_KIND_AT] == 1)
    if account.owner in TOKEN_PROGRAM_NAMES and is_mint:
        return {"type": "mint", "info": _mint(data)}
    return None


def _mint(data: bytes) -> dict[str, Any]:
    def authority(at: int) -> str | None:
        return str(Pubkey.from_bytes(data[at + 4 : at + 36])) if data[at] else None

    return {
        "mintAuthority": authority(0),
        "supply": str(int.from_bytes(data[36:44], "little")),
        "decimals": data[44],
        "isInitialized": bool(data[45]),
        "freezeAuthority": authority(46),
    }
