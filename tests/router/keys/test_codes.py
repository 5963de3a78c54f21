"""One-time codes: one use, one minute, nothing kept that opens anything."""

import pickle

from router.keys.codes import CODE_S, OneTimeCodes


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_code_is_good_once_for_the_one_who_asked_for_it() -> None:
    codes = OneTimeCodes()
    code_id, code = codes.make("key_a")
    _, of_owner = codes.make(None)
    assert codes.state(code_id) == "waiting"
    assert codes.redeem("x" * 43) == (False, None)
    assert codes.redeem(code_id) == (False, None), "which opens nothing"
    assert codes.redeem(code) == (True, "key_a")
    assert codes.state(code_id) == "used"
    assert codes.redeem(code) == (False, None)
    assert codes.redeem(of_owner) == (True, None)


def test_a_code_is_good_for_a_minute() -> None:
    clock = Clock()
    codes = OneTimeCodes(clock)
    code_id, code = codes.make(None)
    clock.now = CODE_S
    assert codes.redeem(code) == (False, None)
    assert codes.state(code_id) == "gone"


def test_only_its_hash_is_kept() -> None:
    codes = OneTimeCodes(Clock())
    _, code = codes.make(None)
    assert len(code) == 43, "256 bits"
    kept = pickle.dumps([[getattr(each, name) for name in each.__struct_fields__] for each in codes._codes.values()])
    assert code.encode() not in kept


def test_many_codes_push_out_the_oldest() -> None:
    codes = OneTimeCodes()
    made = [codes.make(None)[1] for _ in range(40)]
    assert [codes.redeem(code)[0] for code in made] == [False] * 8 + [True] * 32
