"""The shell: what gives the core its messages and does what it decides.

Stage: fourth. A worker holds sagas in memory, runs their attempts and commits what follows; a
client starts, signals, cancels and waits. One pipeline serves all of it: a message comes in,
the core decides, the committer writes, then the world is touched.
May import: `amends.define`, `amends.store`, `amends.observe`, `amends.decide`, `amends.errors`,
`amends.fault`. Must never: decide what a saga does, or write SQL.
"""
