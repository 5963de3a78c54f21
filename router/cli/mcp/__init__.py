"""`mlxr mcp`: a server of the Model Context Protocol, a client of the running gateway as all verbs are.

Only `serving.py` and `over_http.py` import the package `mcp`, an optional extra, and they are imported when they serve.
"""
