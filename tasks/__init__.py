"""How a step runs here: reproduce a stage on a slot, pull data, publish metrics, promote."""
