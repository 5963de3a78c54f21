"""Pure decisions about models over memory: who is resident, who waits, who goes. No I/O but the readings."""
