from pystack.tcp.memory import Memory


def test_what_is_charged_is_released():
    memory = Memory(1000)
    memory.charge(700)
    memory.release(300)
    assert (memory.used, memory.highest) == (400, 700)


def test_pressure_begins_at_three_quarters_and_ends_below():
    memory = Memory(1000)
    memory.charge(750)
    assert not memory.under_pressure
    memory.charge(1)
    assert memory.under_pressure and not memory.exhausted
    memory.release(1)
    assert not memory.under_pressure


def test_at_the_limit_it_is_exhausted_but_refuses_nothing():
    memory = Memory(1000)
    memory.charge(999)
    assert not memory.exhausted
    memory.charge(5000)
    assert memory.exhausted and memory.used == 5999
    memory.release(5999)
    assert memory.used == 0 and memory.highest == 5999
