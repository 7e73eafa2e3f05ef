"""Where the committed tape and its truth are. No reading."""

from pathlib import Path

__all__ = ["TAPE", "TRUTH"]

TAPE = Path(__file__).resolve().parent / "tapes" / "small.tape.zst"
TRUTH = TAPE.with_name("small.truth.json.zst")
