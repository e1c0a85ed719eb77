"""Training: one deterministic, resumable engine (`engine.fit`) and its recipe (`recipe.Recipe`).

Nothing is imported here, so that reading a recipe from `params.yaml` does not cost the import of
torch.
"""
