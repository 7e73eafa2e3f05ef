"""The executor's questions to a node: what is asked, what an answer becomes, and that another form is refused."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from solders.hash import Hash
from solders.pubkey import Pubkey

from copytrader_core.errors import DecodeError
from copytrader_core.solana.chain_rpc import Account, ChainRpc, HeldTokens, Lifetime, SignatureStatus, Simulation
from copytrader_core.solana.programs import TOKEN_2022_PROGRAM, TOKEN_PROGRAM

KEY, MINT, HASH = Pubkey(bytes([7]) * 32), Pubkey(bytes([8]) * 32), Hash(bytes([9]) * 32)


class Node:
    """Stands in for an RpcClient: answers by method, notes what it was asked."""

    label = "node"

    def __init__(self, **answers: Any) -> None:
        self.answers, self.asked = answers, []

    async def call(self, method: str, params: Any) -> Any:
        self.asked.append((method, params))
        answer = self.answers[method]
        return answer(params) if callable(answer) else answer


def account(owner: Pubkey, data: bytes) -> dict[str, Any]:
    return {"owner": str(owner), "lamports": 5, "data": [base64.b64encode(data).decode(), "base64"]}


async def test_a_blockhash_comes_with_its_last_height():
    value = {"blockhash": str(HASH), "lastValidBlockHeight": 77}
    node = Node(getLatestBlockhash={"value": value}, getBlockHeight=70)
    chain = ChainRpc(node)
    assert await chain.latest_blockhash() == Lifetime(HASH, 77)
    assert await chain.block_height("finalized") == 70
    assert node.asked[1] == ("getBlockHeight", [{"commitment": "finalized"}])


async def test_a_status_with_an_error_is_no_success_and_none_is_unknown():
    rows = [
        None,
        {"slot": 5, "confirmations": 1, "err": None, "confirmationStatus": "confirmed"},
        {"slot": 6, "confirmations": None, "err": {"InstructionError": [2, {"Custom": 6002}]}},
    ]
    node = Node(getSignatureStatuses={"value": rows})
    found = await ChainRpc(node).statuses(["a", "b", "c"])
    assert found == [
        None,
        SignatureStatus(5, None, "confirmed"),
        SignatureStatus(6, {"InstructionError": [2, {"Custom": 6002}]}, "finalized"),
    ]
    assert node.asked[0][1] == [["a", "b", "c"], {"searchTransactionHistory": True}]


async def test_many_signatures_are_asked_in_parts_that_a_node_takes():
    node = Node(getSignatureStatuses=lambda params: {"value": [None] * len(params[0])})
    assert await ChainRpc(node).statuses([str(n) for n in range(600)]) == [None] * 600
    assert [len(params[0]) for _, params in node.asked] == [256, 256, 88]


async def test_tokens_of_both_programs_are_found():
    def answer(params: Any) -> Any:
        program = Pubkey.from_string(params[1]["programId"])
        data = bytes(MINT) + bytes(KEY) + (11).to_bytes(8, "little") + bytes(93)
        slot = 8 if program == TOKEN_PROGRAM else 9
        return {"context": {"slot": slot}, "value": [{"pubkey": str(KEY), "account": account(program, data)}]}

    node = Node(getBalance={"context": {"slot": 10}, "value": 5}, getTokenAccountsByOwner=answer)
    slot, lamports, found = await ChainRpc(node).belongings(KEY)
    assert (slot, lamports) == (8, 5)
    assert found == [HeldTokens(KEY, MINT, program, 11) for program in (TOKEN_PROGRAM, TOKEN_2022_PROGRAM)]


async def test_accounts_simulation_leaders_and_addresses_are_read():
    nodes = [{"pubkey": "a", "tpuQuic": "1.2.3.4:8009"}, {"pubkey": "b", "tpuQuic": None}]
    node = Node(
        getMultipleAccounts={"value": [None, account(MINT, b"xyz")]},
        simulateTransaction={"value": {"err": "BlockhashNotFound", "logs": None, "unitsConsumed": 12}},
        getSlotLeaders=["a", "b"],
        getClusterNodes=nodes,
        getBalance={"value": 3},
    )
    chain = ChainRpc(node)
    assert await chain.accounts([KEY, MINT]) == [None, Account(MINT, 5, b"xyz")]
    assert await chain.simulate(b"wire") == Simulation("BlockhashNotFound", (), 12)
    assert await chain.slot_leaders(4, 2) == ["a", "b"]
    assert await chain.tpu_addresses() == {"a": "1.2.3.4:8009"}
    assert await chain.balance(KEY) == 3


@pytest.mark.parametrize("answer", [None, {}, {"value": None}, {"value": [1]}, {"value": [None, None]}, 5, "x"])
async def test_an_answer_of_another_form_is_refused_with_the_nodes_name(answer: Any):
    chain = ChainRpc(Node(getSignatureStatuses=answer, getMultipleAccounts=answer, getLatestBlockhash=answer))
    for ask in (chain.statuses(["a"]), chain.accounts([KEY]), chain.latest_blockhash()):
        with pytest.raises(DecodeError, match="node answered get"):
            await ask
