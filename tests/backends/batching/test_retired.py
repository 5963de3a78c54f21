"""Which retired sequence goes next."""

from backends.batching.retired import RetiredCache, RetiredCaches


def kept(*caches: RetiredCache) -> RetiredCaches:
    retired = RetiredCaches()
    for cache in caches:
        retired.add(cache)
    return retired


def test_the_least_recently_used_goes_first() -> None:
    retired = kept(RetiredCache(1, 5), RetiredCache(2, 5), RetiredCache(3, 5))
    retired.touch(1)
    assert retired.sequence_ids == [2, 3, 1]
    assert retired.victim(0) == 2


def test_pinned_ones_go_last_until_their_time_is_up() -> None:
    retired = kept(RetiredCache(1, 5, pinned_until=10), RetiredCache(2, 5, pinned_until=20), RetiredCache(3, 5))
    assert retired.victim(0) == 3
    retired.remove(3)
    assert retired.victim(0) == 1, "among pinned ones the least recently used"
    retired.add(RetiredCache(4, 5))
    assert retired.victim(9.9) == 4
    assert retired.victim(10) == 1


def test_who_is_about_to_be_used_is_spared_while_there_is_another_one() -> None:
    retired = kept(RetiredCache(1, 5), RetiredCache(2, 5, pinned_until=10))
    assert retired.victim(0, spared_id=1) == 2
    retired.remove(2)
    assert retired.victim(0, spared_id=1) == 1
    retired.remove(1)
    assert retired.victim(0) is None


def test_superseded_ones_go_before_all_others() -> None:
    retired = kept(RetiredCache(1, 5), RetiredCache(2, 5, pinned_until=10))
    retired.supersede(2)
    assert retired.victim(0) == 2


def test_the_tokens_are_summed_up() -> None:
    retired = kept(RetiredCache(1, 5), RetiredCache(2, 7))
    assert (len(retired), retired.num_tokens) == (2, 12)
    retired.remove(1)
    retired.remove(1)
    retired.touch(2)
    assert (len(retired), retired.num_tokens) == (1, 7)
    assert retired.get(1) is None
