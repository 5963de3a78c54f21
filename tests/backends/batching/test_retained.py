"""Which retired sequence goes next."""

from backends.batching.retained import RetainedCaches, Retired


def retained_of(*retired: Retired) -> RetainedCaches:
    retained = RetainedCaches()
    for each in retired:
        retained.add(each)
    return retained


def test_the_least_recently_used_goes_first() -> None:
    retained = retained_of(Retired(1, 5), Retired(2, 5), Retired(3, 5))
    retained.touch(1)
    assert retained.sequence_ids == [2, 3, 1]
    assert retained.victim(0) == 2


def test_pinned_ones_go_last_until_their_time_is_up() -> None:
    retained = retained_of(Retired(1, 5, pinned_until=10), Retired(2, 5, pinned_until=20), Retired(3, 5))
    assert retained.victim(0) == 3
    retained.remove(3)
    assert retained.victim(0) == 1, "among pinned ones the least recently used"
    retained.add(Retired(4, 5))
    assert retained.victim(9.9) == 4
    assert retained.victim(10) == 1


def test_who_is_about_to_be_used_is_spared_while_there_is_another_one() -> None:
    retained = retained_of(Retired(1, 5), Retired(2, 5, pinned_until=10))
    assert retained.victim(0, spared_id=1) == 2
    retained.remove(2)
    assert retained.victim(0, spared_id=1) == 1
    retained.remove(1)
    assert retained.victim(0) is None


def test_superseded_ones_go_before_all_others() -> None:
    retained = retained_of(Retired(1, 5), Retired(2, 5, pinned_until=10))
    retained.supersede(2)
    assert retained.victim(0) == 2


def test_the_tokens_are_summed_up() -> None:
    retained = retained_of(Retired(1, 5), Retired(2, 7))
    assert (len(retained), retained.num_tokens) == (2, 12)
    retained.remove(1)
    retained.remove(1)
    retained.touch(2)
    assert (len(retained), retained.num_tokens) == (1, 7)
    assert retained.get(1) is None
