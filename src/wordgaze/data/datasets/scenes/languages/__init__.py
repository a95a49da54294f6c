"""The captions of a scene, one module per language."""
