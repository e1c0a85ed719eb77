"""The services of a team on one machine, without containers: `espalier fleet`.

| service | keeps | listens on |
|---|---|---|
| `postgres` | the databases of MLflow and Prefect | the loopback address |
| `s3` | DVC's remote, the artifacts of MLflow | `--host` |
| `mlflow` | nothing itself | `--host`, with a login |
| `prefect` | nothing itself | `--host`, with a login |
| `worker-flows`, `worker-QUEUE` | nothing | nothing |

All data and the passwords lie in one folder, `.fleet` of the project, which a backup has to cover; the logs and the
variables of clients in `.espalier/fleet`. docs/fleet.md describes backups, upgrades and other machines.
"""
