"""How the chain's transactions, slots and accounts look from outside: Yellowstone messages and account bytes."""

from __future__ import annotations

import base64
import struct
from functools import lru_cache
from typing import Final

from solders.hash import Hash
from solders.instruction import Instruction
from solders.message import MessageV0
from solders.pubkey import Pubkey

from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.pump import addresses as a
from copytrader_core.pump import instructions as ix
from copytrader_core.pump.curve import CurveQuote, CurveState, V3BuyQuote
from copytrader_core.pump.fees import buyback_share
from copytrader_core.solana.programs import TOKEN_2022_PROGRAM
from copytrader_core.solana.trades import RECIPIENTS
from tests.simulation.bank import FEES, Receipt, Trade, Wire
from tests.simulation.model_chain import Block

_EVENT_CALL: Final = bytes.fromhex("e445a52e51cb9a1d")
_TRADE_EVENT: Final = bytes.fromhex("bddb7fd34ee661ee")
_COMPLETE_EVENT: Final = bytes.fromhex("5f72619cd42e9808")
_POST_COMPLETE_EVENT: Final = bytes.fromhex("6fb06d8b316cd5fb")
_HEAD: Final = struct.Struct("<32sQQ?32sq4Q32sQQ32sQQ?4Q")
_TAIL: Final = struct.Struct("<?4QI32s6Q")
_PLENTY: Final = 10**9
_NOBODY: Final = bytes(32)
CREATOR: Final = Pubkey(b"\x07" * 32)
"""Who made every coin of this chain."""


def transaction(receipt: Receipt, index: int, block_time: int) -> pb.SubscribeUpdateTransactionInfo:
    """A transaction as the stream shows it."""
    info = pb.SubscribeUpdateTransactionInfo(signature=receipt.signature, index=index)
    message = _message(receipt)
    info.transaction.signatures.append(receipt.signature)
    info.transaction.message.CopyFrom(message)
    keys = list(message.account_keys)
    meta = info.meta
    meta.fee = receipt.fee
    known = {bytes(key): pair for key, pair in receipt.lamports.items()}
    pairs = [known.get(key, (_PLENTY, _PLENTY)) for key in keys]
    meta.pre_balances.extend([before for before, _ in pairs])
    meta.post_balances.extend([after for _, after in pairs])
    if receipt.error:
        meta.err.err = receipt.error
        meta.log_messages_none = True
        return info
    _add_tokens(meta, keys, receipt)
    program, authority = keys.index(bytes(a.PUMP_PROGRAM)), keys.index(bytes(a.PUMP_EVENT_AUTHORITY))
    shown = []
    for at, quotes in receipt.events:
        group = meta.inner_instructions.add(index=at)
        for data in [one for quote in quotes for one in _events(receipt, quote, block_time)]:
            shown.append(data)
            group.instructions.add(
                program_id_index=program, accounts=bytes([authority]), data=_EVENT_CALL + data, stack_height=2
            )
    if isinstance(receipt.source, Trade) and len(shown) == 1:
        meta.log_messages.extend(_logs(shown[0]))
    else:
        # Nodes may leave the logs out: the executor then has the instructions alone to read.
        meta.log_messages_none = True
    return info


def _logs(event: bytes) -> list[str]:
    """Of the usual trade, as far as they tell it."""
    data = f"Program data: {base64.b64encode(event).decode()}"
    return [f"Program {a.PUMP_PROGRAM} invoke [1]", data, f"Program {a.PUMP_PROGRAM} invoke [2]"]


def _add_tokens(meta: pb.TransactionStatusMeta, keys: list[bytes], receipt: Receipt) -> None:
    payer = str(receipt.source.payer) if isinstance(receipt.source, Wire) else ""
    for account, (mint, *amounts) in receipt.tokens.items():
        for balances, amount in zip((meta.pre_token_balances, meta.post_token_balances), amounts, strict=True):
            if amount is not None:
                shown = {"decimals": 6, "amount": str(amount), "ui_amount": amount / 1e6, "ui_amount_string": ""}
                balances.add(
                    account_index=keys.index(bytes(account)),
                    mint=str(mint),
                    owner=payer,
                    program_id=str(TOKEN_2022_PROGRAM),
                    ui_token_amount=shown,
                )


def _message(receipt: Receipt) -> pb.Message:
    source = receipt.source
    if isinstance(source, Wire):
        message = source.transaction.message
        assert isinstance(message, MessageV0)
        return _converted(message)
    shown = _crowd_message(source.wallet, source.mint, source.is_buy)
    kind = shown.instructions[0].data[:8]
    shown.instructions[0].data = kind + struct.pack("<QQ", source.amount, 0)
    return shown


@lru_cache(maxsize=512)
def _crowd_message(wallet: Pubkey, mint: Pubkey, is_buy: bool) -> pb.Message:
    """The same message for every such trade but for its amounts."""
    build = ix.buy_exact_quote_in_v3 if is_buy else ix.sell_v3
    one: Instruction = build(ix.CurveCoin(mint), wallet, RECIPIENTS.buyback(mint), 1, 0)
    return _converted(MessageV0.try_compile(wallet, [one], [], Hash.default()))


def _converted(message: MessageV0) -> pb.Message:
    header = message.header
    return pb.Message(
        header=pb.MessageHeader(
            num_required_signatures=header.num_required_signatures,
            num_readonly_signed_accounts=header.num_readonly_signed_accounts,
            num_readonly_unsigned_accounts=header.num_readonly_unsigned_accounts,
        ),
        account_keys=[bytes(key) for key in message.account_keys],
        recent_blockhash=bytes(message.recent_blockhash),
        instructions=[
            pb.CompiledInstruction(program_id_index=one.program_id_index, accounts=one.accounts, data=one.data)
            for one in message.instructions
        ],
        versioned=True,
    )


def _events(receipt: Receipt, quote: CurveQuote | V3BuyQuote, block_time: int) -> list[bytes]:
    source = receipt.source
    if isinstance(source, Trade):
        user, mint, is_buy = source.wallet, source.mint, source.is_buy
    else:
        assert receipt.effect is not None
        user, mint, is_buy = source.payer, receipt.effect.mint, receipt.effect.side == "BUY"
    on_curve = quote.curve if isinstance(quote, V3BuyQuote) else quote
    found = [trade_event(mint, user, is_buy, on_curve, block_time)]
    if on_curve.after.real_base == 0:
        place = (bytes(user), bytes(mint), bytes(a.bonding_curve(mint)))
        found.append(_COMPLETE_EVENT + b"".join(place) + struct.pack("<q32s", block_time, _NOBODY))
        if isinstance(quote, V3BuyQuote) and quote.pool is not None:
            part = quote.pool
            amounts = (part.base_raw, part.quote_net, 95, part.protocol_fee, 30, part.creator_fee)
            base, net = part.pool_base_after + part.base_raw, part.pool_quote_after - part.quote_net
            kept = buyback_share(part.protocol_fee)
            tail = (*amounts, kept, base, net, part.pool_base_after, part.pool_quote_after)
            found.append(_POST_COMPLETE_EVENT + b"".join(place) + struct.pack("<32sq11Q", _NOBODY, block_time, *tail))
    return found


def trade_event(mint: Pubkey, user: Pubkey, is_buy: bool, quote: CurveQuote, block_time: int) -> bytes:
    """A TradeEvent as the program wrote it in the middle of 2026-10, its discriminator first."""
    after, name = quote.after, b"buy_exact_quote_in" if is_buy else b"sell"
    reserves = (after.virtual_quote, after.virtual_base, after.real_quote, after.real_base)
    head = _HEAD.pack(
        *(bytes(mint), quote.quote_net, quote.base_raw, is_buy, bytes(user), block_time, *reserves),
        *(_NOBODY, FEES.protocol_bps, quote.protocol_fee, bytes(CREATOR), FEES.creator_bps, quote.creator_fee),
        *(False, 0, 0, 0, 0),
    )
    kept = buyback_share(quote.protocol_fee)
    tail = _TAIL.pack(
        *(False, 0, 0, 5_000, kept, 0, _NOBODY),
        *(quote.quote_net, after.virtual_quote, after.real_quote, 0, 0, 0),
    )
    return _TRADE_EVENT + head + len(name).to_bytes(4, "little") + name + tail


def block_updates(block: Block) -> list[pb.SubscribeUpdate]:
    """A block as the stream at processed shows it: transactions, block meta, slot."""
    found = [
        pb.SubscribeUpdate(
            transaction=pb.SubscribeUpdateTransaction(
                transaction=transaction(receipt, index, block.time), slot=block.slot
            )
        )
        for index, receipt in enumerate(block.receipts)
    ]
    meta = pb.SubscribeUpdateBlockMeta(
        slot=block.slot,
        blockhash=str(block.blockhash),
        parent_slot=block.parent_slot,
        block_time=pb.UnixTimestamp(timestamp=block.time),
        block_height=pb.BlockHeight(block_height=block.height),
        executed_transaction_count=len(block.receipts),
    )
    return [
        *found,
        pb.SubscribeUpdate(block_meta=meta),
        slot_update(block.slot, block.parent_slot, pb.SLOT_PROCESSED),
    ]


def slot_update(slot: int, parent: int, status: pb.SlotStatus) -> pb.SubscribeUpdate:
    """What became of a slot."""
    return pb.SubscribeUpdate(slot=pb.SubscribeUpdateSlot(slot=slot, parent=parent, status=status))


def curve_account(state: CurveState) -> bytes:
    """The 166 bytes of a curve account."""
    return bytes.fromhex("17b7f83760d8ac60") + struct.pack(
        "<5Q?32s??32sQ??QQBQQQ",
        *(state.virtual_base, state.virtual_quote, state.real_base, state.real_quote, 10**15),
        *(state.real_base == 0, bytes(CREATOR), False, False, _NOBODY, 0, False, False, 0, 0, 0),
        *(30_000_000_000, 0, 0),
    )


def mint_account() -> bytes:
    """A Token-2022 mint without authorities, metadata pointer and metadata as its only extensions."""
    mint = bytes(36) + struct.pack("<QBB", 10**15, 6, 1) + bytes(36)
    extensions = struct.pack("<HH64sHH4s", 18, 64, bytes(64), 19, 4, bytes(4))
    return mint.ljust(165, b"\0") + b"\x01" + extensions


def token_account(mint: Pubkey, owner: Pubkey, amount: int) -> bytes:
    """The 170 bytes of a Token-2022 account with its immutable owner."""
    account = bytearray(165)
    account[:32], account[32:64], account[64:72] = bytes(mint), bytes(owner), amount.to_bytes(8, "little")
    account[108] = 1
    return bytes(account) + b"\x02" + struct.pack("<HH", 7, 0)


def fee_config_account() -> bytes:
    """The curve's fee schedule: one tier, the same for every quote."""
    fees = struct.pack("<3Q", FEES.lp_bps, FEES.protocol_bps, FEES.creator_bps)
    tiers = (1).to_bytes(4, "little") + bytes(16) + fees
    return bytes.fromhex("8f3492bbdb7b4c9b") + b"\xff" + _NOBODY + fees + tiers + tiers + fees


def global_account() -> bytes:
    """The curve program's settings, as far as a trader reads them."""
    normal, reserved = a.FEE_RECIPIENTS, a.MAYHEM_FEE_RECIPIENTS

    def keys(*many: Pubkey) -> bytes:
        return b"".join(map(bytes, many))

    supply = (1_073_000_000_000_000, 30_000_000_000, 793_100_000_000_000, 10**15)
    head = struct.pack("<?32s32s5Q32s?2Q", True, _NOBODY, bytes(normal[0]), *supply, 95, _NOBODY, True, 15_000_001, 30)
    middle = keys(*normal[1:]) + bytes(64) + b"\x01" + bytes(32) + bytes(reserved[0]) + b"\x01" + keys(*reserved[1:])
    tail = struct.pack("<2Q32s?Q32s?B", 5_000, 4_292_000_000, _NOBODY, True, 300, _NOBODY, True, 2)
    return bytes.fromhex("a7e8e8b1c86c727f") + head + middle + b"\x00" + keys(*a.BUYBACK_FEE_RECIPIENTS) + tail
