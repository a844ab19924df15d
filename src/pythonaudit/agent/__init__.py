"""What is done continuously: follow journals, seal, archive, keep retention. Assembly of the parts below.

    Agent(directory, config).run()      # until `stop()`, which SIGTERM calls

- `config`: what a user can set for it, and for the verbs that do the same once.
- `loop`: the main thread. It looks for new events three times a second and hands them to the consumers.
- `consumers`: who takes each new event as it comes. The first is sealing; rules and exporters join there.
- `tasks`: the second thread. What is done now and then: archiving, compaction, retention.
- `archiving`, `lost`: the tasks about segments. `publish`: checkpoints to other places, in a thread of its own.
- `presence`: only one agent a directory, and what it says of itself. `status`: the same for whoever asks.
- `figures`, `problems`: what is counted, and what went wrong. `metrics`, `notify`: telling Prometheus and systemd.
"""
