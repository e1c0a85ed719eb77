"""Explanations of networks: saliency maps, ablation of layers, activity of removed channels."""
