from router.readiness import PRELOAD, SHUTDOWN, Readiness


def test_nothing_in_the_way_is_ready() -> None:
    assert Readiness(lambda: None).reasons == []


def test_each_owner_takes_back_what_it_said_and_checks_are_asked_anew() -> None:
    faults: list[str | None] = [None]
    readiness = Readiness(lambda: faults[0])
    readiness.hold(PRELOAD, "loading 10 %")
    readiness.hold(PRELOAD, "loading 90 %")
    readiness.hold(SHUTDOWN, "it stops")
    assert readiness.reasons == ["loading 90 %", "it stops"]
    readiness.release(SHUTDOWN)
    readiness.release(SHUTDOWN)
    readiness.release(PRELOAD)
    faults[0] = "the registry is damaged"
    assert readiness.reasons == ["the registry is damaged"]
