"""All endpoints of the gateway, as data: each with its protocol, what it takes and what it answers (`table`).

No part of serving, and not imported at the start: routes are where their handlers are. The API's document is made of
it.
"""
