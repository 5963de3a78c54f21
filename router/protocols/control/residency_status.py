"""What a gateway tells of several models at a time: what each takes, what there is, and who would go next and why."""

import time

from router.http.caller import current_caller
from router.placement.room import Home, rested_at
from router.placement.situation import PlacementLimits
from router.protocols.serving import RequestService
from router.status.residency import ResidencyStatus, ResidentShare
from router.workers.looks import SeenHomes


async def residency_status(serving: RequestService) -> ResidencyStatus:
    """Return what is true now, of the models that are for whoever asks; sums are of all."""
    config = serving.config
    seen = await serving.supervisor.see_homes()
    may_use, now = current_caller().may_use, time.monotonic()
    shares = [_share(seen, home, place, now) for place, home in enumerate(seen.homes, start=1)]
    return ResidencyStatus(
        mode=config.residency,
        limit_bytes=seen.limit_bytes,
        held_bytes=sum(share.held_bytes or 0 for share in shares),
        groups={name: list(members) for name, members in config.groups.items()},
        models=[share for home, share in zip(seen.homes, shares, strict=True) if may_use(home.target.model)],
    )


def _share(seen: SeenHomes, home: Home, place: int, now: float) -> ResidentShare:
    read_bytes = seen.read_bytes.get(home.target)
    stays = home.is_pinned and not seen.limits.residency.is_exclusive
    return ResidentShare(
        model=home.target.label,
        engine=str(home.target.engine),
        held_bytes=max(home.held_bytes, read_bytes or 0) or None,
        read_bytes=read_bytes,
        is_pinned=home.is_pinned,
        goes=None if stays or home.is_leaving else place,
        why=_why(home, seen.limits, now),
    )


def _why(home: Home, limits: PlacementLimits, now: float) -> str:
    """Say what makes a model's place in the order; as `room` has it."""
    reasons = (
        (home.is_leaving, "it is ended"),
        (home.is_pinned, "pinned"),
        (home.is_going, "it takes no new requests"),
        (any(worker.state.is_getting_ready for worker in home.workers), "it loads"),
        (any(not worker.use.is_idle for worker in home.workers), "it answers"),
        (home.is_wanted, "it is waited for"),
    )
    return next((words for holds, words in reasons if holds), None) or _idle(home, limits, now)


def _idle(home: Home, limits: PlacementLimits, now: float) -> str:
    load_s = max(worker.load_s for worker in home.workers)
    idle = f"idle for {max(0.0, now - home.used_at):.0f} s, loaded in {load_s:.1f} s"
    if now < rested_at(home.workers, limits):
        return f"{idle}; it rests until its next request may come"
    is_talked_to = any(worker.use.interactive_at is not None for worker in home.workers)
    return idle if is_talked_to else f"{idle}; only background work used it"
