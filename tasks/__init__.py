"""Prefect tasks: reproduce a stage on a slot, pull data, publish metrics, promote."""
