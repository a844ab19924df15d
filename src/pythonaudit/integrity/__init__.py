"""What proves that a record was not altered: hashes, the Merkle tree, signed checkpoints, keys, and the log of them.

Values and files only: what is hashed of events and parts is said in `archive`. The format is
docs/format/checkpoint.md.
"""
