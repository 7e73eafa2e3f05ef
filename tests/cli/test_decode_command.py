"""`copytrader decode`: rows on standard output, one message per bad file on standard error."""

import json
import random

import pytest
from typer.testing import CliRunner

from copytrader_cli.commands.decode import app
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.store.raw_events import COLUMNS
from tests.pump.recorded import json_files, pb_files


def run(*files):
    """Exit status, rows, messages."""
    result = CliRunner().invoke(app, [str(file) for file in files])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, [json.loads(line) for line in result.stdout.splitlines()], result.stderr.splitlines()


def file_of(shared, prefix, form="json"):
    files = json_files(shared) if form == "json" else pb_files(shared)
    return next(file for file in files if file.stem.startswith(prefix))


def test_a_row_has_every_column_and_nested_json(shared):
    status, (row,), messages = run(file_of(shared, "fDy5VD3y"))
    assert (status, messages) == (0, [])
    assert list(row) == [*COLUMNS, "leader_wallet", "created_at"]
    assert (row["ts_ns"], row["slot"], row["tx_index"]) == (1_792_349_414_000_000_000, 458_540_504, None)
    assert (row["quote_raw"], row["alias"], row["leader_wallet"], row["created_at"]) == (
        1_518_750_000,
        None,
        None,
        None,
    )
    assert len(row["ix_accounts_json"]) == 17
    assert row["meta_json"]["venue"] == "curve"


def test_both_forms_print_the_same_rows(shared):
    for update in pb_files(shared):
        document = file_of(shared, update.stem)
        rows = [[row | {"tx_index": None} for row in run(file)[1]] for file in (document, update)]
        assert rows[0] == rows[1]


def test_a_block_prints_the_rows_of_all_its_transactions_with_its_time(shared, tmp_path):
    block = pb.SubscribeUpdateBlock(slot=9, block_time=pb.UnixTimestamp(timestamp=1_792_000_000))
    for prefix in ("fDy5VD3y", "4RUXQBSX"):
        update = pb.SubscribeUpdate.FromString(file_of(shared, prefix, "pb").read_bytes())
        block.transactions.append(update.transaction.transaction)
    file = tmp_path / "block.pb"
    file.write_bytes(pb.SubscribeUpdate(filters=["f"], block=block).SerializeToString())
    status, rows, _ = run(file)
    assert status == 0
    assert [(row["slot"], row["ts_ns"]) for row in rows] == [(9, 1_792_000_000_000_000_000)] * 2


def test_transactions_without_rows_are_no_failure(shared):
    status, rows, messages = run(file_of(shared, "3LQK2JHV"), file_of(shared, "2E9Ddokz", "pb"))
    assert (status, rows, messages) == (0, [], [])


def test_a_bad_file_gives_one_message_and_the_others_are_decoded(shared, tmp_path):
    cut = tmp_path / "cut.json"
    cut.write_bytes(file_of(shared, "fDy5VD3y").read_bytes()[:3_000])
    status, rows, messages = run(
        file_of(shared, "4RUXQBSX"), cut, tmp_path / "missing.json", file_of(shared, "fDy5VD3y")
    )
    assert status == 1
    assert [row["sig"][:8] for row in rows] == ["4RUXQBSX", "fDy5VD3y"]
    assert len(messages) == 2
    assert str(cut) in messages[0]


def test_a_cut_event_is_a_message_and_no_row(shared, tmp_path):
    update = pb.SubscribeUpdate.FromString(file_of(shared, "fDy5VD3y", "pb").read_bytes())
    calls = update.transaction.transaction.meta.inner_instructions[-1].instructions
    calls[-1].data = calls[-1].data[:-124]
    file = tmp_path / "cut.pb"
    file.write_bytes(update.SerializeToString())
    status, rows, messages = run(file)
    assert (status, rows, len(messages)) == (1, [], 1)
    assert "cut" in messages[0]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"null", b"[]x", b"\x0a\x04pump", b"\x08", b"{" * 100_000, b"\xff" * 50]
)
def test_what_is_no_recording_is_refused(tmp_path, content):
    for name in ("file", "file.json", "file.pb"):
        file = tmp_path / name
        file.write_bytes(content)
        status, rows, messages = run(file)
        assert (status, rows, len(messages)) == (1, [], 1), name


@pytest.mark.parametrize("form", ["json", "pb"])
def test_cutting_or_extending_a_file_gives_an_error_or_the_right_rows(shared, tmp_path, form):
    draw = random.Random(form)
    spoiled = tmp_path / f"spoiled.{form}"
    refused = 0
    for file in json_files(shared) if form == "json" else pb_files(shared):
        whole = file.read_bytes()
        right = run(file)[1]
        for _ in range(40):
            spoiled.write_bytes(spoil(whole, draw))
            status, rows, messages = run(spoiled)
            assert (status == 0) == (not messages)
            assert rows == right if status == 0 else rows == []
            refused += status
    assert refused > 1_000


def spoil(whole, draw):
    """Cut it anywhere, put random bytes behind it, or both."""
    more = draw.randbytes(draw.choice([1, 2, 3, 8, 60]))
    cut = whole[: draw.randrange(len(whole))]
    return draw.choice([cut, cut + more, whole + more])
