"""Every command in README.md and docs/ runs: in a home of its own, against the local chain and an embedded Postgres.

A command is a line of a fenced block that begins with `$ ` or with a word of ours. Names that stand for the reader's
own things are replaced (`STANDS_FOR`). What cannot run here is parsed at least; `PARSED_ONLY` says why.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from copytrader_cli.demo import plan_of
from copytrader_cli.main import COMMANDS, cli
from copytrader_core.settings import Settings
from copytrader_core.store.embedded import EmbeddedPostgres, server_program
from simnet.demo_tape import TAPE, TRUTH
from simnet.truth import read_truth, write_wallets_db
from tests.ops.commands import PATIENCE_SECONDS, clean_environment, parsed, playing, rpc_address

REPO = Path(__file__).resolve().parents[2]
PAGES = [REPO / "README.md", *sorted((REPO / "docs").glob("*.md")), REPO / "deploy" / "systemd" / "README.md"]
PLAN = plan_of(TAPE)
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_OURS = ("make ", "export ", "copytrader ", "copytrader=", "COPYTRADER_HOME=", "$copytrader ", ".venv/bin/", "dagster ")

# What cannot run here, and why. The first that matches counts.
PARSED_ONLY: dict[str, str] = {
    r"^make ": "installs, tests or serves: `make -n` must know the target",
    r"^(git|solana-keygen) ": "another program's, and it would need the network",
    r"--mode live": "real orders need a wallet with money, and nodes",
    r"executor nonce ": "sends a transaction of a wallet with money",
    r"(^|\| )(sudo|systemctl|install|useradd|cp /opt)\b": "needs root and a machine with systemd",
    r"explain 5h3|dead-letters save 17": "names a signature or a letter that only the reader's database holds",
    r"--watch": "stays until somebody ends it, on a terminal",
    r"DATABASE_URL=postgres": "names a server of the reader's",
    r"copytrader (cockpit|alerts)": "waits for a browser or a bot; its own tests start it",
}
# Dear, and the same on several pages: once in the same surroundings is enough.
ONCE = re.compile(
    r"copytrader (ingest|backfill|materialize|executor run|report|doctor|ui|wallets import|seal|retention)\b"
)
# What stands for the reader's own things; HOST:PORT is a chain that plays.
STANDS_FOR: list[tuple[str, str]] = [
    (r"2026-10-12\.\.\.2026-10-14", f"{PLAN.learn_days[0]}...{PLAN.learn_days[-1]}"),
    (r"2026-10-1[02]|2026-10-01", PLAN.learn_days[0]),
    (r"2026-10-14", PLAN.learn_days[-1]),
    # Everything of these days was computed by the commands before it: here it is the range that is tried.
    (r"--select '\*' --partition-range", "--select 'group:ledger' --partition-range"),
    # The local chain has no certificate.
    (r" --tls\b", ""),
    # Nobody looks.
    (r" --open\b", ""),
    (r"^(\$|\.venv/bin/|COPYTRADER_HOME=\.copytrader/demo \.venv/bin/)copytrader\b", "copytrader"),
    (r"WALLET-OR-NAME|\bMINT\b", "So11111111111111111111111111111111111111112"),
    # What serves until it is ended, ends by itself here.
    (r"(copytrader ingest .*)", r"\1 --until-idle 2"),
    (r"(copytrader executor run .*)", r"\1 --clock chain --until-idle 3"),
]


@dataclass(frozen=True)
class Command:
    """A line of a page. `text` is what the reader would type."""

    page: str
    number: int
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.number}"


def commands_of(page: Path) -> Iterator[Command]:
    text = page.read_text()
    for block in _FENCE.finditer(text):
        language, body = block[1], block[2]
        if language not in ("", "console", "sh", "bash"):
            continue
        first = text[: block.start(2)].count("\n") + 1
        for number, line in enumerate(body.splitlines(), first):
            typed = line.removeprefix("$ ")
            if typed != line or line.startswith(_OURS):
                yield Command(str(page.relative_to(REPO)), number, re.sub(r"\s+#\s.*$", "", typed).strip())


ALL = [command for page in PAGES for command in commands_of(page)]


@dataclass
class World:
    """Where a reader of one page sits: a folder, an environment that `export` changes, a chain to talk to."""

    folder: Path
    environment: dict[str, str]
    record: str
    done: set[tuple[str, str]] = field(default_factory=set)

    def has_done(self, text: str) -> bool:
        """Whether this dear command did well on a page before, in the same home. From now on it has."""
        command = (text, self.environment.get("COPYTRADER_HOME", ""))
        known = command in self.done
        if ONCE.match(text):
            self.done.add(command)
        return known

    def shell(self, text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )


def programs(folder: Path) -> Path:
    """A folder with `copytrader`, `dagster` and `psql` as the reader's .venv would have them."""
    made = folder / ".venv" / "bin"
    made.mkdir(parents=True)
    called = {"copytrader": "copytrader_cli.main", "dagster": "dagster"}
    for name, module in called.items():
        (made / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
        (made / name).chmod(0o755)
    (made / "psql").symlink_to(server_program("psql"))
    return made


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The addresses of the recorded chain: its stream, from the start, and its node."""
    folder = tmp_path_factory.mktemp("chain")
    with playing(folder, "--speed", "0", "--rpc-port", "0") as stream:
        yield stream, rpc_address(folder)


@pytest.fixture(scope="module")
def world(chain: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One world for all pages: the quick start comes first, and the others need what it builds."""
    folder = tmp_path_factory.mktemp("reader")
    write_wallets_db(read_truth(TRUTH), folder / "my_wallets.db")
    (folder / "token.txt").write_text("none is asked for\n")
    path = f"{programs(folder)}:{os.environ['PATH']}"
    kept = {name: value for name, value in clean_environment().items() if name != "PYTHONDONTWRITEBYTECODE"}
    own = {
        "PATH": path,
        "COPYTRADER_RPC_URL": f"http://{chain[1]}",
        "PROVIDER_TOKEN": "t",
        "RPC_URL": f"http://{chain[1]}",
        "URL_OF_ONE_PROVIDER": f"http://{chain[1]}",
        "URL_OF_ANOTHER": f"http://{chain[1]}",
    }
    yield World(folder, kept | own, chain[0])
    for home in (".copytrader", "restored"):
        EmbeddedPostgres(folder / home / "pg").remove()


def reason_not_to_run(text: str) -> str | None:
    return next((reason for pattern, reason in PARSED_ONLY.items() if re.search(pattern, text)), None)


def check_parsed(text: str) -> None:
    """What can be known of a command without running it: it is one, and what it says to us is understood."""
    words = shlex.split(text)
    if words[0] == "make":
        done = subprocess.run(["make", "-n", *words[1:]], cwd=REPO, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    names = [n for n, word in enumerate(words) if word.endswith("copytrader") and n + 1 < len(words)]
    for n in names:
        arguments = words[n + 1 :]
        if arguments[0] in COMMANDS:
            parsed(cli, arguments)


def page_order(command: Command) -> int:
    """The quick start first: it builds what the others work on. The runbook last: its restore leaves that home."""
    return {"docs/quickstart.md": 0, "README.md": 1, "docs/operations.md": 3}.get(command.page, 2)


@pytest.mark.parametrize("command", sorted(ALL, key=page_order), ids=str)
def test_a_command_of_the_docs_does_what_it_says(command: Command, world: World, tmp_path: Path) -> None:
    text = command.text
    if reason_not_to_run(text) is not None:
        check_parsed(text)
        return
    if assigned := re.fullmatch(r"(export )?(\w+)=(\S+)", text):
        if assigned[1] and assigned[2] != "PATH":
            world.environment[assigned[2]] = assigned[3]
        return
    if text.startswith("export PATH="):
        return
    if text.startswith("rsync ") and shutil.which("rsync") is None:
        words = shlex.split(text)
        target = world.folder / words[-1]
        shutil.copytree(world.folder / words[-2], target, dirs_exist_ok=True)
        return
    for pattern, instead in STANDS_FOR:
        text = re.sub(pattern, instead, text)
    if world.has_done(text):
        return
    if text == "copytrader ui":
        serve_for_a_moment(world, f"{text} --port 0")
        return
    if "executor run" in text:
        done = trade_on_the_last_day(world, text, tmp_path)
        # Afterwards every buy of a leader on that day has been answered, and is not answered again.
        assert "quickstart" not in command.page or re.search(r"^fills [1-9]\d* buys", done, re.MULTILINE), done
        return
    done = world.shell(text.replace("HOST:PORT", world.record))
    allowed = (0, 1) if re.match(r"copytrader (doctor|retention)", text) else (0,)
    assert done.returncode in allowed and "Traceback" not in done.stdout, f"{text}\n{done.stdout}"
    if text.startswith("copytrader doctor"):
        assert not re.search(r"^fail\s+(?!stream|clock)\w", done.stdout, re.MULTILINE), done.stdout


def trade_on_the_last_day(world: World, text: str, folder: Path) -> str:
    """What was learned from the other days is traded on the last one, as it happens. Returns what was said."""
    played = ("--speed", "2000", "--from-slot", str(PLAN.first_live_slot))
    with playing(folder, *played) as address:
        done = world.shell(text.replace("HOST:PORT", address))
    assert done.returncode == 0, done.stdout
    return done.stdout


def serve_for_a_moment(world: World, text: str) -> None:
    """Starts what serves until Ctrl-C, waits until it says where, and ends it."""
    port = free_port()
    with subprocess.Popen(
        shlex.split(text.replace("--port 0", f"--port {port}")),
        cwd=world.folder,
        env=world.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None and f":{port}" in process.stdout.readline()
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPO)))
def test_settings_in_the_docs_are_settings(page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for block in _FENCE.finditer(page.read_text()):
        if block[1] == "toml":
            given = tomllib.loads(block[2])
            assert Settings(**given).model_dump(include=set(given))


@pytest.mark.parametrize("page", [*PAGES, REPO / "SECURITY.md", REPO / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_files_that_the_docs_name_are_there(page: Path) -> None:
    named = re.findall(
        r"`((?:docs|deploy|tests|sql|idl|protos|copytrader_\w+|executor|ingest_worker)/[\w./-]*\w/?)`", page.read_text()
    )
    missing = [name for name in named if not (REPO / name).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPO)))
def test_pictures_and_links_of_the_docs_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    named = [name for name in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text) if not name.startswith("http")]
    assert [name for name in named if not (page.parent / name).exists()] == []
    headings = {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in re.findall(r"^#+ (.+)$", text, re.M)}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= headings


def test_every_exception_has_a_command_and_few_pages_are_exceptions() -> None:
    unused = [pattern for pattern in PARSED_ONLY if not any(re.search(pattern, one.text) for one in ALL)]
    assert set(unused) <= {r"copytrader (cockpit|alerts)", r"--watch"}
    run = [one for one in ALL if reason_not_to_run(one.text) is None]
    assert len(run) > len(ALL) / 2


def test_a_command_that_does_not_exist_would_be_seen() -> None:
    with pytest.raises(AssertionError, match="no command"):
        check_parsed("sudo -u somebody /opt/copytrader/.venv/bin/copytrader db mend")
    with pytest.raises(Exception, match="No such option"):
        check_parsed("sudo copytrader doctor --heal")
