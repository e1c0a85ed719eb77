"""Several machines: a run hands stages to the workers of Prefect's work queues.

| module | part |
|---|---|
| `request` | what is handed over, as text |
| `repository` | the commit at which a worker clones the project |
| `lock_entries` | entries of `dvc.lock`: what a worker needs, and what it returns |
| `handover` | the run's side: submit, wait, record |
| `watching` | one flow run of a worker: its lines, its heartbeats, its end |
| `workspace` | the worker's side: clones, cache and slots of its machine |
| `making` | the worker's side: fetch, make or find, push |
| `remote` | DVC's remote: results of stages by their key, and checkpoints |
"""
