"""Nothing without the token, nothing by another page's hand, nothing under another name."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from running_cockpit import TOKEN
from typer.testing import CliRunner

from copytrader_cli.cockpit.panels import STATIC
from copytrader_cli.cockpit.server import cockpit_token, demand_loopback
from copytrader_cli.commands import cockpit as command
from copytrader_core.errors import ConfigError
from executor.control import read_control

PATHS = (
    "/",
    "/events",
    "/static/cockpit.js",
    "/static/vendor/htmx.min.js",
    "/static/icon.svg",
    "/act/halt",
    "/nothing",
)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "OPTIONS"])
async def test_without_the_token_nothing_is_reached(cockpit: Any, path: str, method: str) -> None:
    async with (
        cockpit(actions=True, signed_in=False) as running,
        running.session.request(method, running.url + path, headers=running.origin) as answer,
    ):
        body = await answer.text()
        assert answer.status == 401 and "set-cookie" not in answer.headers
        assert "ACTIVE" not in body and "function" not in body and "position" not in body


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "ä" * 40])
async def test_a_wrong_token_opens_nothing(cockpit: Any, token: str) -> None:
    async with cockpit(signed_in=False) as running:
        async with running.session.get(running.url + "/", params={"token": token}) as answer:
            assert answer.status == 401 and "Token</label>" in await answer.text()
        form = {"token": token}
        async with running.session.post(running.url + "/login", data=form, headers=running.origin) as answer:
            assert answer.status == 401 and "set-cookie" not in answer.headers
            assert "That is not the token" in await answer.text()


async def test_the_token_leaves_the_address_and_the_cookie_is_not_the_token(cockpit: Any) -> None:
    async with cockpit(signed_in=False) as running:
        async with running.session.get(f"{running.url}/?token={TOKEN}", allow_redirects=False) as answer:
            cookie, where = answer.headers["set-cookie"], answer.headers["location"]
        assert where == "/" and TOKEN not in cookie
        assert "HttpOnly" in cookie and "samesite=strict" in cookie.lower()
        assert "Open positions" in await running.text()


async def test_the_form_opens_too(cockpit: Any) -> None:
    async with cockpit(signed_in=False) as running:
        form = {"token": TOKEN}
        async with running.session.post(running.url + "/login", data=form, headers=running.origin) as answer:
            assert answer.status == 200 and "Open positions" in await answer.text()


@pytest.mark.parametrize("host", ["evil.example", "evil.example:3100", "127.0.0.1", "127.0.0.1.evil.example:80", ""])
async def test_under_another_name_even_the_token_opens_nothing(cockpit: Any, host: str) -> None:
    async with cockpit() as running:
        for path in ("/", f"/?token={TOKEN}", "/static/cockpit.js"):
            async with running.session.get(running.url + path, headers={"Host": host}) as answer:
                assert answer.status in (400, 421) and "Open positions" not in await answer.text()


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {},
    ],
)
async def test_no_other_page_presses_the_button(cockpit: Any, home: Path, headers: dict[str, str]) -> None:
    async with cockpit(actions=True) as running:
        for button in ("reduce", "halt", "flatten", "resume"):
            status, text = await running.press(button, headers=headers, confirm=button)
            assert status == 403 and "own page" in text
    assert not (home / "executor" / "control.json").exists()


@pytest.mark.parametrize("word", ["", "0" * 64, TOKEN])
async def test_the_button_needs_the_pages_word(cockpit: Any, home: Path, word: str) -> None:
    async with cockpit(actions=True) as running:
        status, _ = await running.press("reduce", word=word)
    assert status == 403 and not (home / "executor" / "control.json").exists()


async def test_a_link_presses_nothing(cockpit: Any, home: Path) -> None:
    async with cockpit(actions=True) as running:
        word = await running.word()
        async with running.session.get(f"{running.url}/act/reduce?word={word}") as answer:
            assert answer.status == 405
    assert not (home / "executor" / "control.json").exists()


async def test_it_only_shows_unless_told_otherwise(cockpit: Any, home: Path) -> None:
    async with cockpit() as running:
        assert "/act/" not in await running.text()
        for button in ("reduce", "halt", "flatten", "resume"):
            status, text = await running.press(button, confirm=button)
            assert status == 403 and "--actions" in text
    assert read_control(home / "executor").state == "ACTIVE" and not (home / "executor" / "control.json").exists()


async def test_a_new_token_ends_every_session(cockpit: Any) -> None:
    async with cockpit() as running:
        cookies = running.session.cookie_jar.filter_cookies(running.url)
        port = running.port
    async with (
        cockpit(token="another-token-that-is-long-enough", signed_in=False, port=port) as running,
        running.session.get(running.url, cookies=cookies) as answer,
    ):
        assert answer.status == 401


async def test_signing_out_forgets_the_cookie(cockpit: Any) -> None:
    async with cockpit() as running:
        form = {"word": await running.word()}
        async with running.session.post(running.url + "/logout", data=form, headers=running.origin) as answer:
            assert answer.status == 401


async def test_a_long_body_is_not_read_to_its_end(cockpit: Any) -> None:
    async with cockpit(actions=True) as running:
        status, _ = await running.press("reduce", why="x" * 100_000)
        assert status == 403


async def test_every_answer_forbids_what_the_page_does_not_need(cockpit: Any) -> None:
    async with cockpit() as running:
        for path in ("/", "/static/cockpit.js", "/nothing"):
            async with running.session.get(running.url + path) as answer:
                policy = answer.headers["content-security-policy"]
                assert "default-src 'none'" in policy and "script-src 'self';" in policy
                assert "frame-ancestors 'none'" in policy and "unsafe" not in policy
                assert answer.headers["x-content-type-options"] == "nosniff"
        page = await running.text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=|javascript:", page)
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", page)


@pytest.mark.parametrize("path", ["../app.py", "..%2fapp.py", "%2e%2e/app.py", "/etc/passwd", "vendor/../../app.py"])
async def test_only_the_pages_own_files_are_served(cockpit: Any, path: str) -> None:
    async with cockpit() as running, running.session.get(f"{running.url}/static/{path}") as answer:
        assert answer.status == 404


def test_every_vendored_file_has_its_licence() -> None:
    names = {path.name for path in (STATIC / "vendor").iterdir()}
    assert {"htmx.min.js", "htmx.LICENSE", "uplot.min.js", "uplot.min.css", "uplot.LICENSE"} == names


# Where it listens, and its token.


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "10.0.0.1", "8.8.8.8"])
def test_it_listens_where_nobody_else_is(host: str) -> None:
    with pytest.raises(ConfigError, match="ssh -L"):
        demand_loopback(host, allow_remote=False)
    demand_loopback(host, allow_remote=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.5", "::1", "localhost"])
def test_loopback_is_fine(host: str) -> None:
    demand_loopback(host, allow_remote=False)


def test_the_command_refuses_a_host_that_others_reach(home: Path) -> None:
    found = CliRunner().invoke(command.app, ["--host", "0.0.0.0"])
    assert isinstance(found.exception, ConfigError) and "--allow-remote" in str(found.exception)
    assert not (home / "cockpit.token").exists()


def test_the_token_is_made_once_and_for_its_owner_alone(home: Path) -> None:
    token, made = cockpit_token(home, fresh=False)
    assert made and len(token) >= 40 and (home / "cockpit.token").stat().st_mode & 0o777 == 0o600
    assert cockpit_token(home, fresh=False) == (token, False)
    other, made = cockpit_token(home, fresh=True)
    assert made and other != token


def test_a_token_that_others_read_is_refused(home: Path) -> None:
    cockpit_token(home, fresh=False)
    (home / "cockpit.token").chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        cockpit_token(home, fresh=False)


async def test_the_command_serves_until_it_is_told_to_end_and_keeps_the_token_out_of_what_is_kept(home: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "copytrader_cli.main", "cockpit", "--port", "0"),
        env=os.environ | {"COPYTRADER_HOME": str(home)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    first = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
    assert re.search(r"http://127\.0\.0\.1:\d+/$", first.strip())
    process.send_signal(signal.SIGTERM)
    rest = await asyncio.wait_for(process.stdout.read(), 20)
    assert await process.wait() == 0
    token = (home / "cockpit.token").read_text().strip()
    assert token not in first and token.encode() not in rest and b"Traceback" not in rest


async def test_on_a_terminal_a_new_token_is_shown_once_as_an_address(home: Path) -> None:
    shown = [await _on_terminal(home) for _ in range(2)]
    token = (home / "cockpit.token").read_text().strip()
    assert f"/?token={token}" in shown[0] and token not in shown[1]


async def _on_terminal(home: Path) -> str:
    master, terminal = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "copytrader_cli.main", "cockpit", "--port", "0"),
        env=os.environ | {"COPYTRADER_HOME": str(home)},
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    text = ""
    while "its token is in" not in text:
        text += (await asyncio.wait_for(asyncio.to_thread(os.read, master, 65_536), 60)).decode()
    process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(process.wait(), 20) == 0
    os.close(master)
    return text
