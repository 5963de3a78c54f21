"""How many threads compute, so that none waits for a core that others use.

The threads of a step wait for each other at every node of its graph. One that the system does not let run holds up all
of them, and those that wait spin meanwhile: on two cores beside busy processes two threads were seen to take up to a
hundred times as long as one. So the count follows the machine. In a step each thread computes or spins: what the
process did not get of its threads' time is time that they waited to run.

It falls as soon as that is seen, in a long step by giving it up. Where even a single one waits for most of the time,
all come back if they can be told to sleep instead of spinning (`spinning`): each has its own share of the cores then,
and holds up no other. It rises when cores have been idle; where that was wrong, it waits twice as long before the next
time. Pure but for the object's own state: times come in, a count goes out.
"""

from typing import Final

from backends.wire.threads import ThreadsReason, ThreadsUsed

WINDOW_S: Final = 0.05
"""What a verdict is made of, at least: short enough for the first step, long beside a switch of the scheduler."""

LOOK_S: Final = 0.25
"""How long the cores are looked at before what they did counts; systems count in hundredths of a second."""

MAX_PATIENCE_S: Final = 8.0
"""Longest wait before the next try with more threads."""

PROVEN_S: Final = 1.0
"""How long a count has to stand for what was wrong before it to be forgotten."""

FULL: Final = 0.5
"""From this share of its time that a single thread waits on, the machine is full."""

_ROOM: Final = 0.25
"""Cores that are idle beside threads that sleep where there is room for some that spin."""

_PAUSE_SHARE: Final = 0.5
"""Below this use of one core the process had a pause, in which idle cores show what others leave."""

_LESS_WAITING: Final = 0.7
"""What may be expected to be waited with one thread more, as a share of what makes the count fall."""


def too_much_waiting(num: int) -> float:
    """Return how many of `num` threads may wait to run, on average: one thread less costs 1/num of the speed."""
    return max(0.12, 0.7 / num)


class ThreadCount:
    """Says how many threads are to compute the next step.

    Args:
        most: As many as there are cores for, >= 1.
        follows: Whether it follows the machine; otherwise it stays at `most`.
        can_sleep: Whether threads that wait can be told to sleep soon.

    Attributes:
        num: Threads of the next step, 1 to `most`.
        sleeps: Whether those that wait are to sleep soon.
        num_changes: How often it has moved.
        follows: Whether it moves at all.
    """

    def __init__(self, most: int, *, follows: bool = True, can_sleep: bool = False) -> None:
        self.most = most
        self.num = most
        self.num_changes = 0
        self.sleeps = False
        self._can_sleep = can_sleep
        self.follows = follows and most > 1
        self._wall_s = self._cpu_s = 0.0
        self._patience_s = LOOK_S
        self._changed_at = self._raised_at = float("-inf")
        self._looked: tuple[float, float, float] | None = None
        self._has_stepped = False
        self._used = ThreadsUsed(most, ThreadsReason.CORES_FREE if follows else ThreadsReason.SET)

    @property
    def used(self) -> ThreadsUsed:
        """What the next step is to be computed with, and why."""
        return self._used

    def is_crowded(self, wall_s: float, cpu_s: float) -> bool:
        """Tell whether so much of the threads' time was lost in a part of a step that fewer would do more.

        Args:
            cpu_s: Time that the process had on cores meanwhile.
        """
        if not self.follows or self.num == 1 or self.sleeps or wall_s < WINDOW_S:
            return False
        return self.num - cpu_s / wall_s >= too_much_waiting(self.num)

    def on_step(self, now: float, wall_s: float, cpu_s: float, *, was_given_up: bool = False) -> None:
        """Learn how long a step took, and what the process had of the cores meanwhile.

        Args:
            now: Monotonic seconds, at its end.
            was_given_up: Because it was found crowded: there are to be fewer threads, whatever has come since.
        """
        if not self.follows:
            return
        self._has_stepped = True
        if self.sleeps:
            return  # what is asleep has not waited to run: only looks tell
        window_s = WINDOW_S if self.num > 1 else LOOK_S
        if wall_s >= window_s:
            self._wall_s = self._cpu_s = 0.0  # it says enough by itself
        self._wall_s += wall_s
        self._cpu_s += cpu_s
        if self._wall_s < window_s:
            return
        waiting = self.num - self._cpu_s / self._wall_s
        self._wall_s = self._cpu_s = 0.0
        is_full = self.num == 1 and self._can_sleep and waiting >= FULL
        if is_full or (self.num > 1 and (was_given_up or waiting >= too_much_waiting(self.num))):
            was_wrong = now - self._raised_at < PROVEN_S
            self._patience_s = min(MAX_PATIENCE_S, self._patience_s * 2) if was_wrong else LOOK_S
            fewer = self.num - max(1, min(self.num - 1, round(waiting)))
            self._change(now, self.most if is_full else fewer, sleeps=is_full)

    def wants_look(self, now: float) -> bool:
        """Tell whether the cores are to be looked at before the next step."""
        return self.follows and (self._looked is None or now - self._looked[0] >= LOOK_S)

    def look(self, now: float, idle_s: float, own_s: float) -> None:
        """Take over what the cores did since the last look; the first one is best made before the load.

        Args:
            idle_s: Time that cores had nothing to do but what may wait, summed since any moment.
            own_s: Time that this process had on cores, likewise.
        """
        before, self._looked = self._looked, (now, idle_s, own_s)
        if before is None:
            return
        passed_s, own = now - before[0], (own_s - before[2]) / (now - before[0])
        spare = own + (idle_s - before[1]) / passed_s  # what others leave: ours already, or idle
        fitting = next(
            (num for num in range(self.most, 1, -1) if spare >= num - _LESS_WAITING * too_much_waiting(num)), 1
        )
        has_room = (idle_s - before[1]) / passed_s >= _ROOM
        is_wanted = has_room if self.sleeps else fitting > self.num
        if fitting < self.num and not self.sleeps and (own < _PAUSE_SHARE or not self._has_stepped):
            self._change(now, fitting)
        elif is_wanted and now - self._changed_at >= self._patience_s:
            self._raised_at = now
            self._change(now, fitting)

    def _change(self, now: float, num: int, *, sleeps: bool = False) -> None:
        self.num, self.sleeps = num, sleeps
        is_busy = sleeps or num < self.most
        self._used = ThreadsUsed(num, ThreadsReason.CORES_BUSY if is_busy else ThreadsReason.CORES_FREE)
        self.num_changes += 1
        self._changed_at = now
        self._wall_s = self._cpu_s = 0.0
