"""What `auto` means under a release: whose copies are proven and how, where it says so; else the seed's rule.

A release without any copy values was computed by other means, or before there were any. With them, a leader that has
none is not followed: `auto` never mixes the two rules.
"""

from __future__ import annotations

from copytrader_core.policy.landing import with_landings
from copytrader_core.records import Release
from copytrader_core.settings import Settings


def resolved(settings: Settings, release: Release) -> Settings:
    """`settings` without `auto`; the very same where there is none. What is left open goes by the gate, and landings by
    what our own orders did.
    """
    return _with_policy(with_landings(settings, release.landings, release.as_of), release)


def _with_policy(settings: Settings, release: Release) -> Settings:
    policy = settings.policy
    if "auto" not in (policy.gate, policy.exit, policy.expected_value):
        return settings
    gate = policy.gate if policy.gate != "auto" else ("copy_value" if release.values else "seed")
    is_proven = gate == "copy_value"
    change = {
        "gate": gate,
        "exit": policy.exit if policy.exit != "auto" else ("value" if is_proven else "seed"),
        "expected_value": policy.expected_value
        if policy.expected_value != "auto"
        else ("copy" if is_proven else "seed"),
    }
    return settings.model_copy(update={"policy": policy.model_copy(update=change)})
