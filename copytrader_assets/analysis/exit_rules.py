"""Which exit rule is best for copies of each leader: paired differences between rules, drawn together over all leaders.

Every rule was tried on the same copies, so a copy's own fate cancels: c_tr = x_tr - mean over rules of x_tr. What the
leader's copies show of a rule, mean over t of c_tr, is drawn towards the mean over all leaders with the spread between
leaders that is seen beyond chance (DerSimonian and Laird 1986). The best rule is the one of the highest posterior; what
is chosen is the simplest rule (fewest conditions) no more than one standard error of the paired difference behind it
(Breiman et al. 1984, section 3.4.3): of many rules the best one is partly luck.

Errors are those of sums over coin-days. The seed's exit is compared like the others, but never chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from copytrader_assets.analysis.adaptive_shrinkage import shrink_adaptively
from copytrader_assets.analysis.grouped import Floats, Ints
from copytrader_assets.analysis.shrinkage import spread_between
from copytrader_core.policy.rules import FAMILY, SEED, ExitRule

RULES: Final = tuple(str(rule) for rule in FAMILY)
NAMES: Final = (*RULES, SEED)
_CONDITIONS: Final = np.array([rule.conditions for rule in FAMILY], dtype=np.int64)
_SEED_CONDITIONS: Final = 2
_CAP_QUANTILE = 0.99
"""Returns above this quantile of all count as much as it: one copy must not choose a rule."""
_POOLED_COIN_DAYS = 10
_CERTAINTY = 1.645
_NORMAL_95 = 1.6448536269514722


@dataclass(frozen=True, slots=True)
class RuleCopies:
    """Landed copies under every rule: leader, coin-day, and one column of returns a rule of NAMES (NaN: not tried)."""

    leader: Ints
    cluster: Ints
    returns: Floats


@dataclass(frozen=True, slots=True)
class RuleValues:
    """Per leader (row) and rule of NAMES (column): posteriors, paired differences, and the chosen rule of FAMILY."""

    copies: Ints
    coin_days: Ints
    raw: Floats
    mean: Floats
    spread: Floats
    behind: Floats
    behind_error: Floats
    over_seed: Floats
    over_seed_error: Floats
    chosen: Ints


def rule_copies(table: pa.Table, leaders: Sequence[str], size_lamports: int) -> RuleCopies:
    """The rows of one day of `copy_exits` as one row a copy; those of other leaders and rules are left out."""
    leader = pc.index_in(table["leader"], pa.array(leaders, pa.string()))
    rule = pc.index_in(table["rule"], pa.array(NAMES, pa.string()))
    known = pc.and_(leader.is_valid(), rule.is_valid())
    leader, rule, table = leader.filter(known), rule.filter(known), table.filter(known)
    if not table.num_rows:
        return joined_rules([])
    code = leader.to_numpy().astype(np.int64)
    coins, signals = (_codes(table[name]) for name in ("mint", "sig"))
    copy = (code * (coins.max() + 1) + coins) * (signals.max() + 1) + signals
    firsts, row = np.unique(copy, return_index=True)
    returns = np.full((len(firsts), len(NAMES)), np.nan)
    returns[np.searchsorted(firsts, copy), rule.to_numpy()] = table["pnl_lamports"].to_numpy() / size_lamports
    return RuleCopies(code[row], (code * (coins.max() + 1) + coins)[row], returns)


def joined_rules(days: Sequence[RuleCopies]) -> RuleCopies:
    """The copies of several days; coin-days of different days are different."""
    nothing = np.zeros(0, dtype=np.int64)
    parts, first = [RuleCopies(nothing, nothing, np.zeros((0, len(NAMES))))], 0
    for day in days:
        parts.append(RuleCopies(day.leader, day.cluster + first, day.returns))
        first += int(day.cluster.max(initial=-1)) + 1
    return RuleCopies(*(np.concatenate([getattr(part, name) for part in parts]) for name in RuleCopies.__slots__))


def _codes(column: pa.ChunkedArray) -> Ints:
    return np.asarray(column.combine_chunks().dictionary_encode().indices.to_numpy(), dtype=np.int64)


def rule_values(copies: RuleCopies, n_leaders: int) -> RuleValues:
    """The values of all rules for all leaders, those without copies among them, and the rule that is chosen."""
    tried = ~np.isnan(copies.returns[:, : len(RULES)]).any(1)
    leader, cluster, returns = copies.leader[tried], copies.cluster[tried], copies.returns[tried]
    returns = np.minimum(returns, np.nanquantile(returns, _CAP_QUANTILE)) if len(returns) else returns
    level = returns[:, : len(RULES)].mean(1)
    differences, seeded = returns - level[:, None], ~np.isnan(returns[:, len(RULES)])
    paired = _Paired.of(leader, cluster, differences[:, : len(RULES)], n_leaders)
    beside = _Paired.of(leader[seeded], cluster[seeded], differences[seeded], n_leaders)
    effect, error, weight = _drawn_together(_with_seed(paired.differences, beside.differences))
    base = _levels(leader, cluster, level, n_leaders)
    best = effect[:, : len(RULES)].argmax(1)
    behind = effect[np.arange(n_leaders), best][:, None] - effect
    behind_error = _behind_error(_with_seed(paired.against(best), beside.against(best)).error, best, weight)
    to_seed = beside.against(np.full(n_leaders, len(RULES)))
    return RuleValues(
        copies=paired.copies,
        coin_days=paired.coin_days,
        raw=_raw(copies, n_leaders),
        mean=base.mean[:, None] + effect,
        spread=np.sqrt(base.spread[:, None] ** 2 + error**2),
        behind=np.maximum(behind, 0.0),
        behind_error=behind_error,
        over_seed=to_seed.mean,
        over_seed_error=to_seed.error,
        chosen=_simplest(behind[:, : len(RULES)], behind_error[:, : len(RULES)], effect[:, : len(RULES)]),
    )


def chosen_rules(days: Sequence[RuleCopies], leaders: Sequence[str]) -> Mapping[str, ExitRule]:
    """The rule chosen for each leader from the window's days, each by `rule_copies` of the same leaders.

    Nothing where no day has any copies.
    """
    copies = joined_rules(days)
    if not len(copies.leader):
        return {}
    chosen = rule_values(copies, len(leaders)).chosen
    return {leader: FAMILY[rule] for leader, rule in zip(leaders, chosen.tolist(), strict=True)}


def conditions_of(name: str) -> int:
    """How many conditions can sell under a rule of NAMES; a time_stop or target_x leader's seed exit has two."""
    return _SEED_CONDITIONS if name == SEED else int(_CONDITIONS[RULES.index(name)])


@dataclass(frozen=True, slots=True)
class _Differences:
    """Mean difference of each rule to another, and its standard error; NaN where nothing was tried."""

    mean: Floats
    error: Floats


@dataclass(frozen=True, slots=True)
class _Paired:
    """Differences to each copy's mean over rules, summed over coin-days: one row a coin-day, one column a rule."""

    owner: Ints
    sums: Floats
    sizes: Ints
    copies: Ints
    coin_days: Ints

    @classmethod
    def of(cls, leader: Ints, cluster: Ints, differences: Floats, n_leaders: int) -> _Paired:
        names, position = np.unique(cluster, return_inverse=True)
        owner = np.zeros(len(names), dtype=np.int64)
        owner[position] = leader
        return cls(
            owner,
            _sums(position, differences, len(names)),
            np.bincount(position, minlength=len(names)).astype(np.int64),
            np.bincount(leader, minlength=n_leaders).astype(np.int64),
            np.bincount(owner, minlength=n_leaders).astype(np.int64),
        )

    @property
    def differences(self) -> _Differences:
        """Each rule's difference to the mean over rules."""
        return self._of(self.sums)

    def against(self, rule: Ints) -> _Differences:
        """Each rule's difference to one rule, which may be another for each leader."""
        return self._of(self.sums - self.sums[np.arange(len(self.owner)), rule[self.owner]][:, None])

    def _of(self, sums: Floats) -> _Differences:
        """Means and errors; a leader's spread between coin-days is drawn towards the common one."""
        n_leaders, copies = len(self.copies), np.maximum(self.copies, 1)[:, None]
        mean = _sums(self.owner, sums, n_leaders) / copies
        residuals = _sums(self.owner, (sums - self.sizes[:, None] * mean[self.owner]) ** 2, n_leaders)
        freedom = np.maximum(self.coin_days - 1, 0)[:, None]
        variance = residuals / copies
        pooled = (freedom * variance).sum(0) / max(int(freedom.sum()), 1)
        steady = (_POOLED_COIN_DAYS * pooled + freedom * variance) / (_POOLED_COIN_DAYS + freedom)
        none = self.copies[:, None] == 0
        return _Differences(np.where(none, np.nan, mean), np.where(none, np.nan, np.sqrt(steady / copies)))


def _with_seed(rules: _Differences, beside: _Differences) -> _Differences:
    """The rules' differences from all copies, the seed's from those that it was tried on."""
    columns = (np.column_stack([getattr(rules, n), getattr(beside, n)[:, -1]]) for n in _Differences.__slots__)
    return _Differences(*columns)


def _sums(codes: Ints, values: Floats, n: int) -> Floats:
    """The sums of the rows of `values` by code."""
    members = sparse.coo_matrix((np.ones(len(codes)), (codes, np.arange(len(codes)))), shape=(n, len(codes))).tocsr()
    return np.asarray(members @ values)


def _drawn_together(seen: _Differences) -> tuple[Floats, Floats, Floats]:
    """Posterior of each leader's effect of each rule, its standard error, and the weight of the leader's own mean."""
    effect, error, weight = (np.zeros_like(seen.mean) for _ in range(3))
    for rule in range(effect.shape[1]):
        own, error2 = seen.mean[:, rule], seen.error[:, rule] ** 2
        known = np.isfinite(own)
        if not known.any():
            continue
        spread2 = spread_between(own[known], error2[known], _CERTAINTY)
        precision = 1 / (spread2 + error2[known] + 1e-12)
        centre, doubt = float((precision * own[known]).sum() / precision.sum()), 1 / precision.sum()
        share = np.where(known, spread2 / (spread2 + error2 + 1e-12), 0.0)
        effect[:, rule] = centre + share * (np.nan_to_num(own) - centre)
        error[:, rule] = np.sqrt(np.where(known, share * error2, spread2) + (1 - share) ** 2 * doubt)
        weight[:, rule] = share
    return effect, error, weight


def _behind_error(to_best: Floats, best: Ints, weight: Floats) -> Floats:
    """The standard error of each rule's distance to the best one: the leader's own part, and that of all leaders.

    `to_best`: standard errors of the leaders' own differences to their best rule.
    """
    own = np.maximum(weight, weight[np.arange(len(best)), best][:, None])
    known = np.isfinite(to_best)
    precision = np.where(known, 1 / np.maximum(np.nan_to_num(to_best), 1e-9) ** 2, 0.0)
    common = 1 / np.sqrt(np.maximum(precision.sum(0), 1.0))
    return np.asarray(np.hypot(own * np.nan_to_num(to_best), (1 - own) * common[None, :]))


def _simplest(behind: Floats, error: Floats, effect: Floats) -> Ints:
    """Of the rules within one standard error of the best: fewest conditions, then the highest posterior."""
    near = behind <= error
    conditions = np.where(near, _CONDITIONS[None, :], _CONDITIONS.max() + 1)
    fewest = near & (conditions == conditions.min(1, keepdims=True))
    return np.asarray(np.where(fewest, effect, -np.inf).argmax(1), dtype=np.int64)


def _levels(leader: Ints, cluster: Ints, level: Floats, n_leaders: int) -> _Level:
    """The mean over all rules of each leader's copies, drawn together over leaders."""
    paired = _Paired.of(leader, cluster, level[:, None], n_leaders).differences
    error = np.where(np.isfinite(paired.error[:, 0]), np.maximum(paired.error[:, 0], 1e-6), np.inf)
    posterior = shrink_adaptively(np.nan_to_num(paired.mean[:, 0]), error)
    return _Level(posterior.mean, posterior.spread)


@dataclass(frozen=True, slots=True)
class _Level:
    mean: Floats
    spread: Floats


def _raw(copies: RuleCopies, n_leaders: int) -> Floats:
    """Mean returns as they are; NaN where a rule was not tried."""
    sums = _sums(copies.leader, np.nan_to_num(copies.returns), n_leaders)
    counts = _sums(copies.leader, np.isfinite(copies.returns).astype(np.float64), n_leaders)
    return np.asarray(np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0))
