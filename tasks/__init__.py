"""How a step runs here: a stage on a slot, data brought, figures published. Imperatives."""
