"""Other servers whose models are served here: how they are asked, which of several is, and how they fare.

Imported only where the config names one.
"""
