"""The config for those who change it through a running server or a command: every key described, checked, written.

Imported by the room that is needed: the command line needs little of it.
"""
