"""Changing single values in texts that people wrote: comments, order and layout stay. No files here."""
