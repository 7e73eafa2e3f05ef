"""How messages leave: the Bot API and a webhook. What may work later raises NotNowError, what never will NeverError.

No token or URL gets into a message, an error or a log: an address of the Bot API holds the token.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import aiohttp

from copytrader_cli.alerts.alert import Alert
from copytrader_core.errors import ConfigError, CopytraderError

__all__ = ["BotApi", "NeverError", "NotNowError", "Sender", "TelegramChat", "Webhook"]

_SECONDS: Final = 15.0
_LONGEST_PAUSE: Final = 3_600.0
# This message or this chat will not be taken, however often it is tried.
_NEVER: Final = (400, 403, 413, 422)
_NO_SUCH_BOT: Final = (401, 404)


class NotNowError(CopytraderError):
    """Not now. `seconds` is how long the other side wants to be left alone, None if it does not say.

    `refused`: it answers, and knows no such bot.
    """

    def __init__(self, reason: str, seconds: float | None = None, *, refused: bool = False) -> None:
        super().__init__(reason)
        self.seconds = seconds
        self.refused = refused


class NeverError(CopytraderError):
    """Never: the other side does not take it."""


class Sender(Protocol):
    """One receiver."""

    async def send(self, alerts: Sequence[Alert]) -> None:
        """Sends these as one message. Raises NotNowError or NeverError."""
        ...


class BotApi:
    """The Bot API at `base`, for one bot."""

    def __init__(self, session: aiohttp.ClientSession, base: str, token: str) -> None:
        """`base` is a URL without a path, https unless it is on this machine. Raises ConfigError otherwise."""
        demand_safe(base, "alerts.telegram_api")
        self._session = session
        self._base = base.rstrip("/")
        self._token = token

    async def call(self, method: str, seconds: float = _SECONDS, **values: Any) -> Any:
        """The result of a method. Raises NotNowError or NeverError."""
        url = f"{self._base}/bot{self._token}/{method}"
        try:
            timeout = aiohttp.ClientTimeout(total=seconds)
            async with self._session.post(url, json=values, timeout=timeout, allow_redirects=False) as answer:
                document = await answer.json(content_type=None)
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise NotNowError(f"the Bot API does not answer ({type(error).__name__})") from None
        if isinstance(document, dict) and document.get("ok"):
            return document.get("result")
        raise _refusal(status, document if isinstance(document, dict) else {})


class TelegramChat:
    """One chat."""

    def __init__(self, api: BotApi, chat_id: int) -> None:
        self._api = api
        self._chat_id = chat_id

    async def send(self, alerts: Sequence[Alert]) -> None:
        """One message; it makes a sound if any of the alerts is loud."""
        text = "\n".join(alert.line for alert in alerts)
        await self.say(text, silent=not any(alert.loud for alert in alerts))

    async def say(self, text: str, *, silent: bool = False) -> None:
        """Plain text: nothing in it is markup. Raises NotNowError or NeverError."""
        await self._api.call(
            "sendMessage",
            chat_id=self._chat_id,
            text=text,
            disable_notification=silent,
            link_preview_options={"is_disabled": True},
        )


class Webhook:
    """Posts JSON: `text` for those who only show it, `alerts` one by one with an `id` for those who count."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        """Raises ConfigError for a URL that would send alerts in the clear over a network."""
        demand_safe(url, "the webhook's URL")
        self._session = session
        self._url = url

    async def send(self, alerts: Sequence[Alert]) -> None:
        """One request."""
        document = {
            "text": "\n".join(alert.line for alert in alerts),
            "alerts": [
                {
                    "id": alert.identity,
                    "kind": alert.kind,
                    "level": "on" if alert.loud else "silent",
                    "at_ns": alert.at_ns,
                    "text": alert.text,
                    "repeat": alert.again,
                }
                for alert in alerts
            ],
        }
        try:
            timeout = aiohttp.ClientTimeout(total=_SECONDS)
            async with self._session.post(self._url, json=document, timeout=timeout, allow_redirects=False) as answer:
                status, pause = answer.status, answer.headers.get("Retry-After", "")
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise NotNowError(f"the webhook does not answer ({type(error).__name__})") from None
        if status in _NEVER:
            raise NeverError(f"the webhook does not take this message ({status})")
        if not 200 <= status < 300:
            raise NotNowError(f"the webhook answers {status}", _bounded(pause))


def demand_safe(url: str, what: str) -> None:
    """Raises ConfigError unless `url` is https, or http on this machine. The message does not hold the URL."""
    parts = urlsplit(url)
    here = parts.hostname in ("127.0.0.1", "localhost", "::1")
    if not parts.hostname or parts.scheme not in (("http", "https") if here else ("https",)):
        raise ConfigError(f"{what} must begin with https:// (http:// only for this machine itself)")


async def pause(failures: int, wanted: float | None) -> None:
    """Waits as long as the other side wants, else 1 s after the first failure and twice as long after each further."""
    await asyncio.sleep(wanted if wanted is not None else min(60.0, 2.0 ** min(failures - 1, 6)))


def _refusal(status: int, document: dict[str, Any]) -> CopytraderError:
    code = document.get("error_code", status)
    why = f"the Bot API answers {code}: {document.get('description', 'no reason given')}"
    if code in _NEVER:
        return NeverError(why)
    asked = (document.get("parameters") or {}).get("retry_after")
    return NotNowError(why, _bounded(asked), refused=code in _NO_SUCH_BOT)


def _bounded(seconds: object) -> float | None:
    try:
        return min(_LONGEST_PAUSE, max(0.0, float(str(seconds))))
    except ValueError:
        return None
