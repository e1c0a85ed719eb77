"""Recipes of projects: the templates that `espalier init` starts from."""

RECIPES = (
    "digits",
    "folder",
    "import",
    "table",
    "questions",
    "spoken-digits",
    "mnist-mlp",
    "cifar10-vgg16-mobilenet",
)
