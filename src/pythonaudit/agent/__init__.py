"""What is done continuously: follow journals, seal, archive, keep retention. Assembly of the parts below.

`config` is what a user can set for it, and for the verbs that do the same once.
"""
