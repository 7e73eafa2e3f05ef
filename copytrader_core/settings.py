"""One typed settings tree: defaults, then `copytrader.toml`, then `COPYTRADER_...` variables, then options.

Nothing here reads a secret: keys and tokens come from files that their users name.
Nested fields are reached with two underscores: `COPYTRADER_INGEST__SCOPE=tracked`.
"""

from __future__ import annotations

import os
import tomllib
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from copytrader_core.errors import ConfigError
from copytrader_core.records import LandingModel

_DAY_MS = 86_400_000


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class EndpointSettings(_Section):
    """One provider."""

    address: str = Field(description="HOST:PORT or URL of the Yellowstone endpoint")
    x_token_file: Path | None = Field(None, description="file with this provider's token, owner-readable only")
    tls: bool | None = Field(None, description="TLS with verification; default: for every host but this machine")


class IngestSettings(_Section):
    """The worker: where it listens, what it keeps, and how it batches."""

    endpoint: str = Field("127.0.0.1:10000", description="HOST:PORT of the Yellowstone endpoint")
    x_token_file: Path | None = Field(None, description="file with the provider's token, owner-readable only")
    tls: bool | None = Field(None, description="TLS with verification; default: for every host but this machine")
    endpoints: tuple[EndpointSettings, ...] = Field(
        (), description="providers in the order of preference; if any is given, the three above are not used"
    )
    return_after_seconds: float = Field(
        600.0, gt=0, description="how long a fallback is used before the first endpoint is looked at again"
    )
    wallets_per_stream: int = Field(50, ge=1, description="filter wallets: accounts that one subscription may name")
    commit_every_ms: int = Field(150, ge=1, description="longest time a closed slot waits for its commit")
    commit_rows: int = Field(2000, ge=1, description="rows that force a commit at once")
    sample_fraction: float = Field(
        0.02, ge=0, le=1, description="scope touched: share of all other coins that is kept whole, for baselines"
    )
    lookback_minutes: float = Field(
        10.0, ge=0, description="scope touched: how far back a coin's events are kept once a tracked wallet trades it"
    )
    lookback_mb: int = Field(96, ge=0, description="scope touched: memory for that, in MiB")
    stall_seconds: float = Field(30.0, gt=0, description="silence, pings included, after which the stream is reopened")
    metrics_port: int = Field(0, ge=0, le=65535, description="port of /metrics and /healthz on 127.0.0.1, 0 for none")
    max_clock_offset_seconds: float = Field(2.0, gt=0, description="how far off the local clock may be before an alarm")


class LedgerSettings(_Section):
    """Round trips: when a position counts as closed or dead."""

    dust_fraction: float = Field(
        0.001, ge=0, lt=1, description="share of what a round trip bought that counts as nothing left"
    )
    dust_raw: int = Field(1, ge=0, description="raw units that count as nothing left")
    dead_after_hours: float = Field(
        72.0, gt=0, description="hours without any trade of a coin after which a held bag may be dead"
    )
    dead_quote_lamports: int = Field(
        1_000_000, ge=0, description="a bag whose sell quote is below this is worth nothing"
    )
    mark_fee_ppm: int = Field(
        12_500, ge=0, le=1_000_000, description="swap fee in marks of coins whose own was not seen: the curve's 1.25 %"
    )
    bucket_rows: int = Field(250_000, ge=1, description="events of a day that are folded together")
    buckets_at_once: int = Field(
        40, ge=1, description="buckets that one pass over the day's events keeps in memory: more is faster, up to all"
    )
    threads: int = Field(2, ge=1, description="threads that fold buckets side by side")


_WindowName = Annotated[str, StringConstraints(pattern=r"^([1-9]\d*d|last[1-9]\d*|lifetime)$")]


class PatternSettings(_Section):
    """Fingerprints: the window, the other windows beside it, and the sample that a style needs."""

    window_days: int = Field(30, ge=1)
    last_trades: int | None = Field(None, ge=1, description="at most the last N trips of each wallet")
    min_style_trades: int = Field(10, ge=1)
    windows: tuple[_WindowName, ...] = Field(
        ("7d", "last50", "lifetime"), description="windows of wallet_windows: 7d, last50 or lifetime, any numbers"
    )
    wallet_windows: dict[str, tuple[_WindowName, ...]] = Field(
        {}, description="more windows for single wallets: address to names"
    )
    path_days: int = Field(
        7, ge=1, description="how many days before the day on which a trip ended its price path is followed back"
    )
    hold_over_seconds: float = Field(5.0, ge=0, description="the hold that hold_over speaks of")


class NetworkSettings(_Section):
    """The copy network: window, test and effect-size floor."""

    method: Literal["seed", "conditional"] = "conditional"
    window_days: int = Field(30, ge=1)
    horizon_seconds: float = Field(30.0, gt=0)
    min_followed: int = Field(5, ge=1)
    min_follow_prob: float = Field(0.3, ge=0, le=1, description="seed: least P(follow in 5 s) above the base rate")
    min_excess: float = Field(0.05, ge=0, le=1, description="conditional: least P(follow in 30 s) above chance")
    max_q_value: float = Field(0.05, gt=0, le=1)


class CopySettings(_Section):
    """Copies of every leader's buy that are replayed: how late, how large, how long they are followed."""

    latencies: tuple[int, ...] = Field((1, 2, 4, 8, 16), min_length=1, description="slots after the leader, ascending")
    sizes_sol: tuple[float, ...] = Field(
        (0.1, 0.2, 0.5, 1.0, 2.0, 5.0), min_length=1, description="what each copy spends, SOL, ascending"
    )
    reference_latency: int = Field(
        2, ge=0, description="one of latencies: where exit rules are compared and leaders ranked"
    )
    our_latency: Literal["auto", "settings"] = Field(
        "auto",
        description="auto: the one of latencies nearest to the mean of our own live orders takes reference_latency's "
        "place, where enough of them are known; settings: reference_latency in any case",
    )
    reference_size_sol: float = Field(0.5, gt=0, description="one of sizes_sol: the same")
    horizon_seconds: float = Field(1_800.0, gt=0, description="a copy that is still held then is sold")
    window_days: int = Field(30, ge=1, description="days of copies that a leader's value is read from")
    min_copies: int = Field(20, ge=1, description="landed copies below which nothing is proven")
    min_coin_days: int = Field(10, ge=1, description="different coins, or days of one, below which nothing is proven")
    max_false_share: float = Field(
        0.1, gt=0, lt=1, description="share of the leaders that stand out which may do so by chance"
    )

    @model_validator(mode="after")
    def _is_a_grid(self) -> Self:
        for name, values in (("latencies", self.latencies), ("sizes_sol", self.sizes_sol)):
            if values[0] < 0 or any(later <= earlier for earlier, later in pairwise(values)):
                raise ValueError(f"{name} must be positive and ascending, found {values}")
        if self.reference_latency not in self.latencies or self.reference_size_sol not in self.sizes_sol:
            raise ValueError("reference_latency and reference_size_sol must be values of latencies and sizes_sol")
        return self


class PolicySettings(_Section):
    """The decision: the seed's rule by default. Sizes in SOL, slippage in basis points, times in ms."""

    gate: Literal["auto", "seed", "copy_value"] = Field(
        "auto",
        description="who is followed: the seed's sample and win rate, or whose copies are proven to be worth it; "
        "auto: copy_value where the release has copy values, else seed",
    )
    exit: Literal["auto", "seed", "value"] = Field(
        "auto",
        description="when to sell: the seed's formulas, or the exit rule that is best for copies of the leader; "
        "auto: value with the gate copy_value, else seed",
    )
    expected_value: Literal["auto", "seed", "inflow", "copy"] = Field(
        "auto",
        description="what must be positive: the seed's estimate, the value of our place among the followers, or what "
        "copies of the leader are worth; copy also sizes the buy and bounds its price; auto: copy with the gate "
        "copy_value, else seed",
    )
    min_sample_trades: int = Field(50, ge=0)
    min_win_rate: float = Field(0.52, ge=0, le=1)
    size_factor: float = Field(
        0.75, gt=0, description="alpha of the seed: our size as a share of the leader's mean entry"
    )
    min_size_sol: float = Field(0.2, gt=0)
    max_size_sol: float = Field(3.0, gt=0)
    base_slippage_bps: int = Field(300, ge=0)
    max_slippage_bps: int = Field(3000, ge=0)
    slippage_factor: float = Field(1.2, ge=0, description="beta of the seed, on the leader's 95th percentile slippage")
    timer_factor: float = Field(
        0.6, gt=0, description="share of the leader's p50 hold after which a time_stop leader is left"
    )
    target_p50_factor: float = Field(0.8, gt=0)
    target_p90_factor: float = Field(0.5, gt=0)
    min_target_x: float = Field(1.05, gt=0)
    require_positive_ev: bool = True
    exit_on_leader_sell: bool = Field(False, description="sell as soon as the leader sells the coin")
    trailing_fraction: float | None = Field(
        None, gt=0, lt=1, description="sell when the multiple falls by this share below its peak; none = never"
    )
    trailing_from_x: float = Field(1.2, gt=0, description="the peak multiple from which on trailing_fraction sells")
    stop_x: float | None = Field(
        None, gt=0, lt=1, description="sell when the multiple has fallen to this; none = never"
    )


class RiskSettings(_Section):
    """Hard limits that no decision can pass. SOL unless the name says otherwise."""

    max_trade_sol: float = Field(3.0, gt=0)
    max_open_positions: int = Field(20, ge=1)
    max_positions_per_mint: int = Field(1, ge=1)
    max_positions_per_leader: int = Field(10, ge=1, description="half of all positions: no leader is the whole book")
    max_exposure_sol: float = Field(20.0, gt=0)
    max_exposure_per_mint_sol: float = Field(3.5, gt=0, description="one largest trade with its costs, and some room")
    max_exposure_per_leader_sol: float = Field(10.0, gt=0, description="half of max_exposure_sol")
    max_loss_per_hour_sol: float = Field(5.0, gt=0)
    max_loss_per_day_sol: float = Field(10.0, gt=0)
    max_quote_age_slots: int = Field(25, ge=0)
    max_stream_age_ms: int = Field(
        3_000, ge=0, description="ms since the stream last moved beyond which nothing is bought; a slot takes 400"
    )
    max_price_impact_bps: int = Field(
        1_000, ge=0, description="how far our own buy may pay above the market's price: 3 SOL move a new curve by 988"
    )
    max_tip_lamports: int = Field(
        10_000_000,
        ge=0,
        description="tip and priority fee of one buy, so that a slip of the pen costs 0.01 SOL at most",
    )
    max_tip_share_bps: int = Field(500, ge=0, description="the same as a share of the buy, in basis points")
    min_leader_size_sol: float = Field(
        0.05, ge=0, description="leaders' buys below this are no signal: dust is cheap bait for copiers; 0 = any size"
    )
    mint_cool_down_ms: int = Field(
        5_000,
        ge=0,
        le=_DAY_MS,
        description="how long a coin is left alone after our last buy or exit of it: our own trace in the price has to "
        "fade, and a fault that buys in circles is slowed down; 0 = off",
    )
    leader_cool_down_ms: int = Field(
        0,
        ge=0,
        le=_DAY_MS,
        description="how long a leader is not followed after a loss with it; 0 = off: losses belong to an edge",
    )
    sol_floor: float = Field(
        0.05, ge=0, description="SOL that stays in the wallet whatever happens, exits of everything held not counted"
    )
    blocked_mints: tuple[str, ...] = ()
    blocked_leaders: tuple[str, ...] = ()


class ExecutorSettings(_Section):
    """The executor: fees it pays and how paper fills land."""

    own_wallet: str | None = Field(None, description="public address of the trading wallet")
    priority_fee_lamports: int = Field(100_000, ge=0)
    tip_lamports: int = Field(1_000_000, ge=0)
    paper_latency_slots: int = Field(2, ge=0, description="slots between a decision and its paper fill")
    paper_balance_sol: float = Field(100.0, gt=0)
    exit_slippage_bps: int = Field(
        300, ge=0, le=10_000, description="what an exit's first attempt may lose to its quote"
    )
    exit_slippage_step_bps: int = Field(300, ge=0, le=10_000, description="what each further attempt adds to that")
    max_exit_slippage_bps: int = Field(3_000, ge=0, le=10_000)
    exit_any_price_attempt: int = Field(
        4, ge=1, description="the attempt from which on an exit takes whatever it gets: it is guaranteed work"
    )
    exit_priority_fee_step_lamports: int = Field(200_000, ge=0, description="what each further attempt pays more")
    max_exit_priority_fee_lamports: int = Field(2_000_000, ge=0)
    exit_tip_step_lamports: int = Field(1_000_000, ge=0, description="what each further attempt tips more")
    max_exit_tip_lamports: int = Field(10_000_000, ge=0)
    max_exit_cost_bps: int = Field(
        1_000, ge=0, le=10_000, description="fee and tip of one attempt to sell, as a share of what it should bring"
    )
    exit_urgent_steps: int = Field(
        2, ge=0, description="how many attempts an urgent exit (kill, flatten, adverse) is ahead of its count"
    )
    paper_jitter_slots: int = Field(0, ge=0, description="further slots of delay, drawn evenly for each paper order")
    paper_lost_share: float = Field(0.0, ge=0, le=1, description="share of paper orders that never land")
    landing: Literal["auto", "settings"] = Field(
        "auto",
        description="how late orders are expected to land, and how many never do: auto, as our own live orders did, "
        "where the release knows enough of them; settings, as the three above say",
    )
    landing_window_days: int = Field(30, ge=1, description="days of our own live orders that count")
    landing_min_orders: int = Field(
        50, ge=1, description="orders of one side below which the settings stand: a share of 0.05 is then known to 0.03"
    )
    landing_prior_orders: int = Field(
        20, ge=0, description="so many orders does the settings' model weigh beside our own"
    )
    measured: LandingModel | None = Field(
        None, description="what auto has found; the program writes it into the journal, nobody into a file"
    )
    key_file: Path | None = Field(
        None, description="wallet key that only its owner can read; a service gets it as the credential wallet-key"
    )
    rpc_url_files: tuple[Path, ...] = Field(
        (), description="files with one RPC URL each; two nodes of two providers are needed to believe that all is flat"
    )
    tpu: bool = Field(True, description="send to the leaders' own ports too")
    block_engine_urls: tuple[str, ...] = Field((), description="one block engine region each")
    block_engine_uuid_file: Path | None = Field(None, description="file with the block engine's access key")
    block_engine_mode: Literal["bundle", "transaction", "bundle_only"] = "bundle"
    sync_before_send: bool = Field(
        False, description="signed bytes are on the disk before they leave, at 0.3 ms an order; else right afterwards"
    )
    rebroadcast_ms: int = Field(400, ge=50, description="how often the same bytes are sent again until they land")
    rehearse_ms: int = Field(
        2, ge=0, le=50, description="how often a buy is rehearsed, so that the next one finds warm caches; 0: never"
    )
    busy_poll: bool = Field(
        False, description="look for updates without ever sleeping: needs a core of its own, and answers sooner"
    )
    nonce_accounts: tuple[str, ...] = Field(
        (),
        description="durable nonce accounts of our wallet, read at the start: one sale under way each (`nonce create`)",
    )
    exit_retry_ms: int = Field(3_000, ge=100, description="how long an attempt to sell may take before the next one")
    migrate_after_seconds: float = Field(
        60.0, ge=0, description="how long a complete curve that we hold may wait before we migrate it ourselves"
    )
    reconcile_seconds: float = Field(60.0, gt=0, description="how often the balances on chain are looked at")
    unknown_balances: Literal["quarantine", "sell"] = Field(
        "quarantine", description="coins in the wallet that no position accounts for: report them, or sell them at once"
    )
    canary_seconds: float = Field(
        300.0, gt=0, description="how often a buy is simulated, to notice programs that have changed"
    )
    trip_silence_seconds: float = Field(
        30.0, gt=0, description="silence of the stream after which buying stops until somebody resumes"
    )
    metrics_port: int = Field(0, ge=0, le=65535, description="port of /metrics and /healthz on 127.0.0.1, 0 for none")


class CockpitSettings(_Section):
    """The cockpit: its port on loopback, and whether its buttons do anything."""

    port: int = Field(8420, ge=0, le=65535, description="port on 127.0.0.1, 0 for any free one")
    actions: bool = Field(False, description="reduce, halt, flatten and resume from the page; else it only shows")
    allow_hosts: tuple[str, ...] = Field(
        (), description="further HOST or HOST:PORT names under which a tunnel or a proxy reaches it"
    )


AlertLevel = Literal["on", "silent", "off"]


class AlertKinds(_Section):
    """What is told, and how: on, silent (without a sound), off."""

    state: AlertLevel = Field("on", description="the trading state was changed, by a person or by the executor")
    executor: AlertLevel = Field("on", description="the executor's process ended, or is back")
    stuck: AlertLevel = Field("on", description="a due exit that cannot be sent")
    chain: AlertLevel = Field(
        "on", description="what the chain contradicts: rollbacks, coins nobody accounts for, programs that changed"
    )
    ingest: AlertLevel = Field("on", description="the record falls behind, or catches up; gaps open and close")
    failed: AlertLevel = Field("silent", description="transactions of ours that failed or never landed")
    trades: AlertLevel = Field("silent", description="what was bought and sold")
    release: AlertLevel = Field("off", description="a new release is followed")


class AlertSettings(_Section):
    """Alerts and control by phone. Nothing is sent before `telegram` is true or `webhook_url_file` is named."""

    telegram: bool = Field(False, description="the bot; its token is the credential telegram-token or a file")
    telegram_token_file: Path | None = Field(
        None, description="file with the bot's token, owner-readable only; a service gets it as telegram-token"
    )
    telegram_api: str = Field("https://api.telegram.org", description="base URL of the Bot API")
    chat_ids: tuple[int, ...] = Field((), description="the only chats that are written to and listened to")
    control: bool = Field(False, description="whether these chats may change the trading state, not only ask")
    webhook_url_file: Path | None = Field(
        None, description="file with the URL that alerts are posted to as JSON, owner-readable only"
    )
    kinds: AlertKinds = AlertKinds()
    ingest_lag_seconds: float = Field(120.0, gt=0, description="how far the record may fall behind before an alert")
    keep: int = Field(100, ge=1, description="alerts kept for a channel that does not answer; further ones are counted")


class SparkSettings(_Section):
    """Where `engine = "spark"` folds, and what else Spark is told."""

    master: str = Field("local[2]", description="Spark's master: local[N], local-cluster[...], spark://HOST:PORT, yarn")
    options: dict[str, str] = Field({}, description="further options of Spark by their names, which win over ours")


class DagsterSettings(_Section):
    """What Dagster shows and tells: whose the assets are, how a failing store is retried, who hears of failed runs."""

    owner: str = Field("team:copytrader", description="owner of every asset: team:NAME or an e-mail address")
    retries: int = Field(3, ge=0, description="how often a step is retried whose database or lake was out of reach")
    retry_seconds: float = Field(20.0, gt=0, description="wait before the first retry; doubled for each, with jitter")
    webhook_url_file: Path | None = Field(
        None, description="file with the URL that hears of failed runs, owner-readable only"
    )
    webhook_url_env: str | None = Field(None, description="name of the environment variable that holds it instead")


class Settings(BaseSettings):
    """The whole tree. `home` holds everything that the platform writes by itself."""

    model_config = SettingsConfigDict(
        env_prefix="COPYTRADER_", env_nested_delimiter="__", extra="forbid", frozen=True, toml_file="copytrader.toml"
    )

    home: Path = Field(Path(".copytrader"), description="state: embedded database, lake, Dagster's files, report")
    lake: str | None = Field(None, description="path or fsspec URL of the lake; default is HOME/lake")
    rpc_url_file: Path | None = Field(None, description="file with the RPC URL, which may hold a key, owner-readable")
    rpc_rate: float = Field(10.0, gt=0, description="requests a second to an RPC node that is not on this machine")
    engine: Literal["threads", "spark"] = Field(
        "threads", description="what folds a day's buckets of wallets: threads of this process, or Spark"
    )
    spark: SparkSettings = SparkSettings()
    ingest: IngestSettings = IngestSettings()
    ledger: LedgerSettings = LedgerSettings()
    patterns: PatternSettings = PatternSettings()
    network: NetworkSettings = NetworkSettings()
    copies: CopySettings = CopySettings()
    policy: PolicySettings = PolicySettings()
    risk: RiskSettings = RiskSettings()
    cockpit: CockpitSettings = CockpitSettings()
    alerts: AlertSettings = AlertSettings()
    executor: ExecutorSettings = ExecutorSettings()
    dagster: DagsterSettings = DagsterSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Options win over the environment, which wins over the file."""
        toml = os.environ.get("COPYTRADER_CONFIG", "copytrader.toml")
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=toml))

    @property
    def home_path(self) -> Path:
        """The absolute state folder."""
        return self.home.expanduser().resolve()

    @property
    def lake_path(self) -> Path:
        """The absolute folder of the lake, if it is one."""
        return Path(self.lake).expanduser().resolve() if self.lake else self.home_path / "lake"

    @property
    def lake_location(self) -> str:
        """The absolute folder of the lake, or its fsspec URL."""
        return self.lake if self.lake and "://" in self.lake else str(self.lake_path)

    @property
    def database_url(self) -> str | None:
        """The user's own Postgres, or None for the embedded one. It may hold a password: never log it."""
        return os.environ.get("DATABASE_URL") or None

    @property
    def rpc_url(self) -> str | None:
        """COPYTRADER_RPC_URL. It may hold the provider's key: never log it."""
        return os.environ.get("COPYTRADER_RPC_URL") or None


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process, read once.

    Raises ConfigError that names every wrong field and its source of truth.
    """
    try:
        return Settings()
    except ValidationError as error:
        lines = "\n".join(f"  {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"settings are wrong (copytrader.toml or COPYTRADER_ variables):\n{lines}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"copytrader.toml is no TOML: {error}: correct it") from None
