"""A process with everything imported, whose forks run the stages of one `espalier run`.

A stage is a process of its own: DVC starts it, and it can be killed without harm to others. Most of a short
stage is the import of torch. Here one process imports once, and each stage is a fork of it:

    flow ── dvc repro ── client (`espalier` on the path of DVC) ┄┄ asks ┄┄ server ── fork: the stage

The client stands for the stage: it passes signals on, ends as the stage ends, and the stage ends with it. Where
there is no server, or the stage wants another environment, the client becomes the real command.
"""
